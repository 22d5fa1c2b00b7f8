//! The server on real sockets, files and databases: one program, so that it is linked once.
//!
//! Its tests run beside each other in one process, so none changes what that shares: environment, limits,
//! signals, current directory. Two need a process of their own, and run this program again for one test alone:
//! `connections::want_of_descriptors_is_survived` lowers the limit of descriptors, `full_disk` has a filesystem
//! mounted and is killed. Those that measure are in `tests/quiet`.

mod account_keys;
mod alerts;
mod audit;
mod best_shares;
mod browser;
mod cluster_backup;
mod cluster_blocks;
mod cluster_database;
mod cluster_http;
mod cluster_hung;
mod cluster_relay;
mod cluster_restore;
mod cluster_shipping;
mod cluster_terms;
mod cluster_users;
mod connections;
mod console;
mod found;
mod full_disk;
mod fuzz;
mod harness;
mod http;
mod http_limits;
mod http_money;
mod jobs;
mod ledger_failure;
mod ledger_health;
mod ledger_spam;
mod ledgers;
mod listeners;
mod miner_sign_in;
mod operator_orders;
mod payout_estimate;
mod payout_send;
mod payout_settle;
mod pool_panic;
mod postgres;
mod privacy;
mod refused_logins;
mod restart;
mod rounds;
mod sessions;
mod shipping;
mod solo;
mod split;
mod stop;
mod store;
mod tls_miner;
mod traces;
mod webhook;
mod worker_list;
