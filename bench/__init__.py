"""`./setup bench`: what octo costs, as ratios against the bare parts measured in the same run."""
