"""Amazon ECS on Fargate: `ecs:push`, whose jobs need no route back, and `ecs`, for workers near the pool."""
