//! `task-creator check`: looks at settings, RabbitMQ and Bitrix24, and changes nothing.
