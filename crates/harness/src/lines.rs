//! Lines of a miner as benches send them, and what they read of those they get.

use std::io::Write;

/// The lines of a miner that logs in.
pub fn login(user: &str) -> String {
    format!(
        "{{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[\"bench\"]}}\n\
         {{\"id\":2,\"method\":\"mining.authorize\",\"params\":[\"{user}\",\"x\"]}}\n"
    )
}

/// Writes the line of a submit in place of what is in `line`. Its id is as long as that of a miner that has been at
/// it for long.
pub fn write_submit(line: &mut Vec<u8>, user: &str, job: &str, time: u64, nonce: u32) {
    line.clear();
    writeln!(
        line,
        r#"{{"id":10000000,"method":"mining.submit","params":["{user}","{job}","00000000","{time:08x}","{nonce:08x}"]}}"#
    )
    .expect("a vector takes everything");
}

/// The id of the first job in lines of a server.
pub fn job_id(told: &str) -> Option<&str> {
    let (_, rest) = told.split_once(r#""mining.notify","params":[""#)?;
    rest.split('"').next()
}
