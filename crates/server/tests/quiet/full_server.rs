//! A full server: connections that are closed for new ones, so that nobody can lock others out by taking
//! every place.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::harness::miner::Want;
use crate::harness::{Chain, EVERY_HASH, Miner, Running, start, wait_until};

/// A connection from this address of the machine.
fn connect_from(source: [u8; 4], address: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((source, 0)).into())?;
    socket.connect(&address.into())?;
    Ok(socket.into())
}

/// A connection that has logged in and has work, unless it was reset before.
fn work_from(source: [u8; 4], address: SocketAddr, user: &str) -> Option<Miner> {
    let mut miner = Miner::over(connect_from(source, address).ok()?);
    miner.try_log_in(user).then_some(miner)
}

fn is_logged(running: &Running, part: &str) -> bool {
    running
        .node
        .log_texts()
        .iter()
        .any(|line| line.contains(part))
}

/// An address that takes every place and logs in on each locks nobody else out, and displaces nobody with an
/// accepted share.
#[test]
fn an_address_that_logs_in_everywhere_makes_room_for_others() {
    let _turn = crate::turn();
    let running = start(&[("max-inbound", "200"), ("difficulty", EVERY_HASH)]);
    running.server.template(Chain::hard().empty_at(0));
    let address = running.server.address();
    let mut honest: Vec<Miner> = (0..20)
        .map(|n| running.mine_as(&format!("alice{n}")))
        .collect();
    for miner in &mut honest {
        miner.mine(Want::Share);
    }
    let mallory = |_| work_from([127, 0, 0, 2], address, "mallory");
    let crowd: Vec<Miner> = (0..400).filter_map(mallory).collect();
    assert!(crowd.len() >= 180, "all places are taken");
    for n in 0..40 {
        let late = work_from([127, 0, 0, 3], address, &format!("late{n}"));
        let mut late = late.expect("a newcomer gets in");
        late.mine(Want::Share);
        honest.push(late);
    }
    for miner in &mut honest {
        miner.mine(Want::Share);
    }
    wait_until("it is said whose connections give way", || {
        is_logged(&running, "127.0.0.2 holds ") && is_logged(&running, "without an accepted share")
    });
}

/// A farm behind one address that reconnects at once, while another address holds every place, is back within
/// seconds.
#[test]
fn a_farm_that_comes_back_at_once_is_in_within_seconds() {
    let _turn = crate::turn();
    const PLACES: usize = 3_000;
    const FARM: usize = 1_000;
    let running = start(&[
        ("max-inbound", &PLACES.to_string()),
        ("difficulty", EVERY_HASH),
    ]);
    running.server.template(Chain::hard().empty_at(0));
    let address = running.server.address();
    let mallory = |_| work_from([127, 0, 0, 2], address, "mallory").expect("there is room");
    let crowd: Vec<Miner> = (0..PLACES).map(mallory).collect();
    let begun = Instant::now();
    let connect = || connect_from([127, 0, 0, 3], address).map(Miner::over).ok();
    let mut coming: Vec<Option<Miner>> = (0..FARM).map(|_| connect()).collect();
    let (mut farm, mut again) = (Vec::new(), 0);
    while let Some(miner) = coming.pop() {
        match miner.and_then(|mut miner| miner.try_log_in("farm.rig").then_some(miner)) {
            Some(miner) => farm.push(miner),
            None => {
                // It reconnects, as miners do.
                again += 1;
                coming.push(connect());
            }
        }
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "{again} came again"
        );
    }
    println!(
        "{FARM} are in after {:?}, {again} came again",
        begun.elapsed()
    );
    for miner in &mut farm {
        miner.mine(Want::Share);
    }
    drop(crowd);
}
