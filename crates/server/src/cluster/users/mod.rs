//! Users, the operator's bans and drains of one pool on several servers.

pub(crate) mod cache;
pub(crate) mod first_users;
pub(crate) mod local_import;
pub(crate) mod sync;
pub(crate) mod table;
