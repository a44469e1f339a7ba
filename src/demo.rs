//! `task-creator demo`: the whole loop on one machine, before the reader's eyes.
