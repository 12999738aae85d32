//! Ring 3b: speaking to this machine.

pub mod entry_store;
pub mod git;
pub mod gnupg;
pub mod settings;
pub mod terminal;
pub mod trust_files;
