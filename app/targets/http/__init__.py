"""The kind `http`: one request per attempt, judged by the status of its answer."""
