//! Work and money: the records of a ledger, the division of a reward, the share dump. Storage is not in
//! here.

pub mod ledger;
pub mod reward_split;
pub mod share_dump;
pub mod terms;
