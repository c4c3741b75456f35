"""Where calls come in: HTTP, sockets, a browser's way in; and what is sent on, answered and counted."""
