"""Re-rankers behind an HTTP address: the forms of their requests, the client, the teacher."""
