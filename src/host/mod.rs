//! Ring 3b: speaking to this machine.

pub mod connection_owner;
pub mod entry_cache;
pub mod git;
pub mod git_config;
pub mod git_program;
pub mod gnupg;
pub mod known_identities;
pub mod opener;
pub mod profile;
pub mod settings;
pub mod trusted_root_files;
pub mod user_directories;
