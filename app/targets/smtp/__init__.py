"""The kind `smtp`: one mail per attempt, handed over to a mail server."""
