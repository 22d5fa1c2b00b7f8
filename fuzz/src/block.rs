//! Fuzzes the parsers of a coinbase, a header and a whole block.

use hstratum_core::chain::block::FoundBlock;
use hstratum_core::chain::coinbase::{Coinbase, Payout};
use hstratum_core::chain::header::{HEADER_BYTES, decode_header, encode_header};
use hstratum_core::chain::template::{RawTransactions, encode_block};

pub(crate) fn coinbase(data: &[u8]) {
    // The spool reads blocks back in this way, and their bytes may be cut off.
    let found = FoundBlock::parse(data, Payout::Operator);
    match data.first_chunk::<HEADER_BYTES>() {
        None => assert!(found.is_none()),
        Some(raw) => {
            let (fields, proof, mask) = decode_header(raw).expect("any 236 bytes are a header");
            assert_eq!(encode_header(&fields, &proof, &mask), *raw);
        }
    }

    let Some(coinbase) = Coinbase::parse(data) else {
        return;
    };
    assert_eq!(coinbase.as_bytes(), data);
    let other = coinbase.with_witness_nonce([0xa5; 8]);
    assert_eq!(other.txid(), coinbase.txid());
    assert_eq!(Coinbase::parse(other.as_bytes()).as_ref(), Some(&other));

    let mut long = data.to_vec();
    long.push(0);
    assert_eq!(Coinbase::parse(&long), None, "nothing may follow");
    let transactions = RawTransactions {
        count: 1,
        bytes: b"whatever follows".as_slice().into(),
    };
    let block = encode_block(&[0; HEADER_BYTES], &coinbase, &transactions);
    assert_eq!(Coinbase::of_block(&block), Some(coinbase));
}
