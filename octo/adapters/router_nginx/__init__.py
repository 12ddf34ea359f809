"""Router: a private nginx in a folder of its own, the whole of it run by an unprivileged uid.

render.py   the table of routes -> configuration files; every value passes a filter that raises
own.py      an app's block of its own, by the operator's template
certificates.py   of the apps and octo's own
drafts.py   a table with what its apps bring, or brought when it was good last
candidates.py   a draft -> a tree that nginx takes; who brings what nginx refuses harms itself alone
trees.py    the files on disk: one folder per generation, `current` points to the one that serves
master.py   the nginx process: start, adopt, test, reload, stop, ask its workers
hostports.py  TCP ports of the host that lead to apps: those that can be served
sockets.py  what the kernel knows of connections and listeners
look.py     how nginx is, who is connected
logs.py     the access log counted and kept small, the error log quoted
router.py   the port itself: test, swap, reload, prove, put back
"""

from octo.adapters.router_nginx.router import NginxRouter, Own

__all__ = ["NginxRouter", "Own"]
