//! Ring 4: the stories. The only files that know more than one neighbour.

pub mod cli;
pub mod complete;
pub mod explain;
pub mod lookup;
pub mod show;
pub mod sign;
pub mod verify;
pub mod version;
