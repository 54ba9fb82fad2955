What a master registered for an agent whose node was killed before it could answer is undone when the node is back: the agent can enroll again at once.
