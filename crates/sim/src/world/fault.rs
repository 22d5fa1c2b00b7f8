//! Faults that occur at random times, and the end of all faults.

use hstratum_core::units::ConnId;

use crate::server::net::ConnPeer;
use crate::world::plan::{Faults, MinerKind, between, wait};
use crate::world::{Doom, FaultKind, HEALED_MS, World, WorldEvent, note};

/// Most seconds by which the clock is set ahead of the true time, or behind it. A block may be at most
/// two hours ahead of the clock, and must be above the median time past, which is ten minutes behind the
/// true time here.
const CLOCK_OFF_S_MAX: u64 = 5 * 3600;
const CLOCK_SLOW_S_MAX: i64 = 4 * 3600;

impl FaultKind {
    pub(crate) const ALL: [Self; 12] = [
        Self::Crash,
        Self::PowerCut,
        Self::PoolPanic,
        Self::Stop,
        Self::ClockStep,
        Self::NoTemplate,
        Self::TemplateStorm,
        Self::FullDisk,
        Self::BusyLedger,
        Self::HungDisk,
        Self::Cut,
        Self::HalfOpen,
    ];

    fn mean_ms(self, faults: &Faults) -> Option<u64> {
        match self {
            Self::Crash => faults.crash_ms,
            Self::PowerCut => faults.power_cut_ms,
            Self::PoolPanic => faults.pool_panic_ms,
            Self::Stop => faults.stop_ms,
            Self::ClockStep => faults.clock_step_ms,
            Self::NoTemplate => faults.no_template_ms,
            Self::TemplateStorm => faults.template_storm_ms,
            Self::FullDisk => faults.full_disk_ms,
            Self::BusyLedger => faults.busy_ledger_ms,
            Self::HungDisk => faults.hung_disk_ms,
            Self::Cut => faults.cut_ms,
            Self::HalfOpen => faults.half_open_ms,
        }
    }
}

impl World {
    pub(crate) fn plan_fault(&mut self, kind: FaultKind) {
        if let Some(mean_ms) = kind.mean_ms(&self.faults) {
            let delay_ms = wait(&mut self.rngs.fault, mean_ms as f64);
            self.after(delay_ms, WorldEvent::Fault(kind));
        }
    }

    pub(crate) fn fault(&mut self, kind: FaultKind) {
        if self.is_healed() {
            return;
        }
        self.plan_fault(kind);
        match kind {
            FaultKind::Crash => self.doom_soon(Doom::Crash),
            FaultKind::PowerCut => self.doom_soon(Doom::PowerCut),
            FaultKind::PoolPanic => self.doom_soon(Doom::PoolPanic),
            FaultKind::Stop => self.stop(),
            FaultKind::ClockStep => {
                let off_s = between(&mut self.rngs.fault, 10, CLOCK_OFF_S_MAX);
                let off_s = i64::try_from(off_s).expect("hours");
                let is_fast = self.rngs.fault.bool();
                self.set_clock(if is_fast {
                    off_s
                } else {
                    -off_s.min(CLOCK_SLOW_S_MAX)
                });
            }
            FaultKind::NoTemplate if self.process.is_some() => {
                self.inject("no template");
                self.no_template();
            }
            FaultKind::TemplateStorm if self.process.is_some() => {
                self.inject("template storm");
                self.template_storm();
            }
            FaultKind::NoTemplate | FaultKind::TemplateStorm => {}
            FaultKind::FullDisk => {
                self.inject("full disk");
                let for_ms = between(&mut self.rngs.fault, 500, 120_000);
                note!(self, "disk      full for {for_ms} ms");
                self.disk.full_until_ms = self.now_ms + for_ms;
                self.disk.full_and_written = self.rngs.fault.bool();
            }
            FaultKind::BusyLedger => {
                self.inject("busy ledger");
                let for_ms = between(&mut self.rngs.fault, 100, 30_000);
                note!(self, "disk      another process writes for {for_ms} ms");
                self.disk.busy_until_ms = self.now_ms + for_ms;
            }
            FaultKind::HungDisk => {
                self.inject("hung disk");
                let for_ms = between(&mut self.rngs.fault, 2_000, 600_000);
                note!(self, "disk      hangs for {for_ms} ms");
                // A hang in progress is not cut short.
                self.disk.hung_until_ms = self.disk.hung_until_ms.max(self.now_ms + for_ms);
            }
            FaultKind::Cut => {
                if let Some(conn) = self.pick_wire() {
                    self.cut(conn);
                }
            }
            FaultKind::HalfOpen => {
                if let Some(conn) = self.pick_wire() {
                    self.half_open(conn);
                }
            }
        }
    }

    /// Ends a connection; both ends hear of it.
    fn cut(&mut self, conn: ConnId) {
        self.inject("cut");
        let wire = &self.net.wires[&conn];
        note!(self, "net       connection of {:?} cut", wire.peer);
        let latency_ms = wire.latency_ms;
        self.after(latency_ms, WorldEvent::ServerGone(conn));
        self.after(latency_ms, WorldEvent::MinerGone(conn));
    }

    /// Loses all that is sent on a connection from now on; its ends give up on it later.
    fn half_open(&mut self, conn: ConnId) {
        self.inject("half-open");
        let wire = self.net.wires.get_mut(&conn).expect("it was picked");
        wire.is_dead = true;
        note!(self, "net       connection of {:?} is dead", wire.peer);
        let is_proxys = matches!(wire.peer, ConnPeer::Proxy(..));
        let noticed_ms = between(&mut self.rngs.net, 20_000, 200_000);
        self.after(noticed_ms, WorldEvent::ServerGone(conn));
        if is_proxys {
            // A proxy's machine gives up on bytes that were never acknowledged.
            let noticed_ms = between(&mut self.rngs.net, 5_000, 60_000);
            self.after(noticed_ms, WorldEvent::MinerGone(conn));
        }
    }

    /// Ends the process or the pool after a few more actions of the driver, or at once.
    fn doom_soon(&mut self, doom: Doom) {
        if self.process.is_none() {
            return;
        }
        let words = self.rngs.fault.u32(0..40);
        match (&self.process, self.rngs.fault.bool()) {
            // Between any two actions of the driver.
            (Some(process), true) if doom == Doom::PoolPanic => process.sim_host.fail_in(words),
            (Some(_), true) => self.doom = Some(doom),
            _ => self.doomed = Some(doom),
        }
    }

    fn set_clock(&mut self, off_s: i64) {
        self.inject("clock step");
        note!(self, "clock     {off_s} s from the true time");
        self.clock_off_s = off_s;
        self.clock_set_ms = self.now_ms;
    }

    /// Excuses all miners until then for being without work or connection.
    pub(crate) fn trouble_until(&mut self, at_ms: u64) {
        self.trouble_ms = self.trouble_ms.max(at_ms);
    }

    /// Ends all faults. The process restarts once more, so that everything the node could not answer is
    /// asked again; hostile miners leave.
    pub(crate) fn heal(&mut self) {
        note!(self, "heal      no more faults");
        self.faults = Faults::default();
        self.disk.full_until_ms = 0;
        self.disk.busy_until_ms = 0;
        self.disk.hung_until_ms = 0;
        if self.clock_off_s != 0 {
            self.set_clock(0);
        }
        self.doom = None;
        let dead = self.net.wires.iter().filter(|(_, wire)| wire.is_dead);
        let dead: Vec<_> = dead.map(|(conn, _)| *conn).collect();
        for conn in dead {
            self.after(10, WorldEvent::ServerGone(conn));
            self.after(10, WorldEvent::MinerGone(conn));
        }
        for at in 0..self.miners.len() {
            if self.miners[at].kind() == MinerKind::Hostile {
                self.miners[at].retires = true;
                self.hang_up(at);
            }
        }
        if self.process.is_some() {
            self.doomed = Some(Doom::Crash);
        }
    }

    /// Checks that everything has recovered; from then on nobody mines, and blocks mature.
    pub(crate) fn rest(&mut self) {
        note!(self, "rest      nobody mines");
        self.check_recovered();
        for miner in &mut self.miners {
            miner.plan.hashrate = 0.0;
        }
        self.plan.block_ms = 2_000;
        self.rest_until_ms = self.now_ms + HEALED_MS - 60_000;
        self.after(1, WorldEvent::OthersBlock);
    }
}
