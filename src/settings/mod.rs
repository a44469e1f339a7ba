//! How settings are read, whatever they are.

pub mod address;
pub mod dotenv;
pub mod spelling;
pub mod variables;
