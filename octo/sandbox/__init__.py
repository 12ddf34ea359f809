"""What both kinds of sandbox share: control groups, disks, system calls, the door of the first process."""
