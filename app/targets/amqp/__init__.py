"""The kind `amqp`: one message per attempt, confirmed by the broker."""
