//! `task-creator send`: puts one message into a queue.
