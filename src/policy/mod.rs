//! Ring 2: rules about people, refs and paths. Pure. (The policy file comes with the push gate; until then who may sign is said by the settings and flags that `evidence::identity` matches.)

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]
