'use strict';

/*
 * hstratum inside hsd: `hsd --plugins hstratum`. This side makes templates,
 * delivers found blocks and passes log lines on; the rest is native. Nothing
 * in here may throw into hsd or leave a rejection unhandled: either would
 * take the node down.
 */

const {errorText} = require('./error_text');
const binding = require('./binding');
const hsdModules = require('./hsd_modules');
const options = require('./options');
const rpc = require('./rpc');
const {Calls} = require('./native_calls');
const {ChainSync} = require('./chain_sync');
const {Drill} = require('./drill');
const {FoundBlocks} = require('./found_blocks');
const {ExtraNodes} = require('./extra_nodes');
const {Lag} = require('./event_loop_lag');
const {TemplateVerifier} = require('./template_verifier');
const {Templates} = require('./templates');
const {NodeTimeouts} = require('./node_timeouts');

const LEAVE_MS = 5000;
const SETTLE_MS = 2000;
const CLOSE_MS = 11000;
const LOCATE_MS = 100;
const ALIVE_MS = 1000;

class Plugin {
  constructor(node) {
    this.node = node;
    this.logger = node.logger.context('stratum');
    this.server = null;
    this.starting = null;      // the promise of that
    this.calls = new Calls(() => this.loaded && !node.opened);
    this.waits = null;
    this.templates = null;
    this.sync = null;
    this.blocks = null;
    this.drill = null;
    this.extraNodes = null;
    this.lag = null;
    this.listeners = [];
    this.loaded = false;       // the node's open() has come to its end
    this.terminating = false;
    this.terminated = new Promise((resolve) => {
      this.terminate = resolve;
    });
    this.closing = null;
  }

  /**
   * Called by hsd when the chain, the mempool and the miner are open, and
   * peers are not yet. An error in here stops the node, with its stack as the
   * message: it is one line for the user, about an option or file.
   */

  async open() {
    // Keeps the process alive while the native half starts.
    const alive = setInterval(() => {}, ALIVE_MS);

    try {
      this.hsd = hsdModules.inspect(this.node);
      this.bindSignal('SIGTERM', () => this.onTerm());
      this.bindSignal('SIGHUP', () => this.onHup());
      this.starting = this.begin();

      // A signal that ends the node does not wait for a start that hangs.
      this.server = await Promise.race([this.starting, this.terminated]);

      if (this.server)
        this.start();
      else
        this.starting.then(server => server.close(0), () => {});

      hsdModules.onOpen(this.node, this.hsd.version, () => this.onOpen());
    } catch (e) {
      e.stack = `hstratum: ${e.message}`;
      await atMost(SETTLE_MS, hsdModules.closeChain(this.node)).catch(() => {});
      throw e;
    } finally {
      clearInterval(alive);
    }
  }

  /**
   * Start the native half, on a thread of its own: it reads files, resolves
   * names and asks the shared ledger. It may offer blocks before its server is
   * here.
   * @returns {Promise<Object>} the server.
   */

  begin() {
    const {node} = this;

    return new Promise((resolve, reject) => {
      binding.load().start({
        network: node.network.type,
        prefix: node.location('stratum'),
        memory: Boolean(node.memory),
        deployments: node.network.deploys.map(({name, bit}) => ({name, bit})),
        options: options.read(node.config),
        nodeHttp: hsdModules.httpOf(node),
        walletHttp: hsdModules.httpOf(node.get('walletdb'))
      }, solution => this.onSolution(solution), (level, text) => {
        this.onLog(level, text);
      }, (hashes, heights) => {
        this.onLocate(hashes, heights);
      }, (id, address, signature, text) => {
        this.onVerify(id, address, signature, text);
      }, (id, answer) => {
        this.calls.settle(id, answer);
      }, (code, message, server) => {
        if (server)
          resolve(server);
        else
          reject(Object.assign(new Error(message), {code}));
      });
    });
  }

  start() {
    const {node, logger, hsd} = this;

    this.waits = new NodeTimeouts(this.server);

    // Room for the accounts that a coinbase pays.
    node.miner.options.reservedWeight += this.server.coinbaseWeight;

    const verifier = new TemplateVerifier(node, hsd, this.waits, logger,
      () => this.blocks.pending.size > 0);

    this.templates = new Templates(node, this.server, this.waits, logger,
      this.server.verifies ? verifier : null);
    this.sync = new ChainSync(node, this.server, logger);
    this.blocks = new FoundBlocks(node, hsd, this.server, this.templates,
      this.waits, logger);
    this.drill = new Drill(this.server, this.blocks, verifier, logger);
    this.extraNodes = new ExtraNodes(node, hsd, this.server, this.calls, logger);
    this.lag = new Lag(this.server, logger);
    this.listen();
    rpc.add(node.rpc, this, logger);
  }

  listen() {
    const {node, templates, sync, blocks, extraNodes, server} = this;

    this.bind(node.chain, 'tip', (entry) => {
      templates.onTip(entry);
      blocks.onTip(entry);
    });

    this.bind(node.chain, 'block', (block) => {
      templates.fallback.excluded.onBlock(block);
    });
    this.bind(node.chain, 'competitor', (block, entry) => {
      server.competitor(entry.hash, entry.height);
    });

    this.bind(node.chain, 'full', () => {
      templates.tellTip();
      sync.tell();
    });

    for (const event of ['tx', 'claim', 'airdrop'])
      this.bind(node, event, () => templates.onMempool());

    for (const event of ['peer open', 'peer close']) {
      this.bind(node.pool, event, () => {
        templates.tick();
        extraNodes.tick();
      });
    }

    this.bind(node.pool, 'packet', (packet, peer) => {
      blocks.onPacket(packet, peer);
    });
  }

  onOpen() {
    this.loaded = true;

    if (this.server) {
      this.templates.guard(() => this.templates.start());
      this.sync.start();
      this.extraNodes.start();
    }

    if (this.terminating)
      this.shutdown();
  }

  /**
   * Add a handler unless a program around hsd handles this signal itself: hsd
   * handles SIGINT only.
   */

  bindSignal(signal, handler) {
    if (process.listenerCount(signal) > 0)
      return;

    process.on(signal, handler);
    this.node.once('closed', () => process.removeListener(signal, handler));
  }

  bind(emitter, event, handler) {
    const listener = (...args) => {
      try {
        handler(...args);
      } catch (e) {
        this.logger.error('failed to handle %s: %s', event, errorText(e));
      }
    };

    emitter.on(event, listener);
    this.listeners.push([emitter, event, listener]);
  }

  onSolution(solution) {
    if (!this.blocks) {
      // A block that is not taken is offered at the next start.
      if (!this.terminating)
        this.onceStarted(() => this.onSolution(solution));
      return;
    }

    try {
      if (solution.drill)
        this.drill.run(solution);
      else
        this.blocks.submit(solution);
    } catch (e) {
      this.onLog('error', `failed to take a block: ${errorText(e)}`);
    }
  }

  /**
   * Answer the native half's question about our blocks and the chain. New jobs
   * and verdicts on new blocks, which are under way now, go first.
   */

  onLocate(hashes, heights) {
    setTimeout(() => {
      // The native half asks again.
      if (this.closing || !this.blocks)
        return;

      this.blocks.locate(hashes, heights).catch((e) => {
        this.onLog('error', `failed to look for our blocks: ${errorText(e)}`);
      });
    }, LOCATE_MS);
  }

  /** Tell the native half whether an address's key has signed a message. */

  async onVerify(id, address, signature, text) {
    let isValid = false;

    try {
      isValid = await this.node.rpc.verifyMessage([address, signature, text]);
    } catch (e) {
      // What is no signature is an error.
      ;
    }

    try {
      this.server.messageVerified(id, isValid);
    } catch (e) {
      this.onLog('error', `failed to pass on a signature: ${errorText(e)}`);
    }
  }

  /** Call back once the native half has started. */

  onceStarted(callback) {
    this.starting.then(() => setImmediate(callback), () => {});
  }

  onLog(level, text) {
    try {
      // Passed as an argument and not as the format: it contains names that
      // miners chose.
      this.logger[level]('%s', text);
    } catch (e) {
      ;
    }
  }

  onHup() {
    try {
      if (this.server)
        this.server.reload();
    } catch (e) {
      this.logger.error('failed to reload: %s', errorText(e));
    }
  }

  onTerm() {
    if (this.terminating)
      return;

    this.terminating = true;
    this.terminate(null);

    if (this.loaded)
      this.shutdown();
    else
      this.logger.info('closing as soon as the node is open');
  }

  /**
   * Close the node, once, so that the process can end.
   */

  async shutdown() {
    const {node} = this;

    try {
      // After open() hsd connects and begins to sync, and asserts that the
      // node is still open: let it finish.
      await immediate();

      if (node.opened && !node.pool.connected) {
        await node.connect();
        await immediate();
      }

      // Otherwise a close is under way already.
      if (node.opened)
        await node.close();
    } catch (e) {
      this.logger.error('failed to close the node: %s', errorText(e));
      process.exit(1);
    }
  }

  /**
   * Called by hsd before it closes the pool and the chain, so that the last
   * blocks can still get their verdict.
   */

  close() {
    if (!this.closing)
      this.closing = this.stop();

    return this.closing;
  }

  async stop() {
    if (!this.server)
      return;

    try {
      this.lag.stop();
      this.waits.stop();
      // Miners mine until they have moved to other servers, and may find a
      // block.
      await atMost(LEAVE_MS, this.calls.order(id => this.server.leave(id)));
      this.templates.stop();
      this.sync.stop();
      this.blocks.stop();
      this.extraNodes.stop();
      await atMost(SETTLE_MS, this.blocks.settle());
      await atMost(CLOSE_MS, this.calls.order(id => this.server.close(id)));
    } catch (e) {
      this.logger.error('failed to stop: %s', errorText(e));
    }

    for (const [emitter, event, listener] of this.listeners)
      emitter.removeListener(event, listener);

    this.listeners = [];
  }
}

function immediate() {
  return new Promise(resolve => setImmediate(resolve));
}

async function atMost(ms, promise) {
  let timer;

  const late = new Promise((resolve) => {
    timer = setTimeout(resolve, ms);
  });

  try {
    await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/*
 * Expose
 */

exports.id = 'hstratum';
exports.init = node => new Plugin(node);
