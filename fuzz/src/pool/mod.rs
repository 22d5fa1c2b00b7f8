//! The pool with four connections, two of which may be on a solo listener, a node, a ledger and a password
//! hasher, all driven by bytes.
//!
//! The first byte chooses the setup. The rest are steps separated by `~`: the first byte of a step is its
//! kind, the others are its argument. See `Table::step`.

mod seat;
mod table;
mod template;

use table::Table;

pub(crate) fn pool(data: &[u8]) {
    let Some((&setup, steps)) = data.split_first() else {
        return;
    };
    let mut table = Table::new(setup);
    for step in steps.split(|&byte| byte == b'~') {
        if let Some((&kind, argument)) = step.split_first() {
            table.step(kind, argument);
        }
    }
    table.settle();
}
