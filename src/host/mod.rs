//! Ring 3b: speaking to this machine.

pub mod entry_store;
pub mod git;
pub mod git_program;
pub mod gnupg;
pub mod known_identities;
pub mod opener;
pub mod profile;
pub mod settings;
pub mod trust_files;
pub mod user_directories;
