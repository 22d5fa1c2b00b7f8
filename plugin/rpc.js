'use strict';

/*
 * Calls that hstratum adds to the node's RPC. Errors are answered with the
 * codes that hsd uses; nothing else may be thrown.
 */

const MISC_ERROR = -1;
const TYPE_ERROR = -3;
const INVALID_ADDRESS_OR_KEY = -5;
const INVALID_PARAMETER = -8;
const DATABASE_ERROR = -20;

const KINDS = {
  malformed: INVALID_PARAMETER,
  state: MISC_ERROR,
  disk: DATABASE_ERROR
};

/** Code of the native half's errors about an argument. */
const ERR_VALUE = 'ERR_HSTRATUM_VALUE';

const DAY_S = 24 * 60 * 60;
const DRAIN_S = 60;
const LIST_MAX = 1000;
const UINT32_MAX = 0xffffffff;

/**
 * Each call: its arguments as help shows them, their smallest and largest
 * number, and its function.
 */

const CALLS = {
  __proto__: null,

  getstratuminfo: {
    help: '',
    args: [0, 0],
    async run({server, ask, plugin}) {
      const {waits, templates, extraNodes} = plugin;
      const answer = await ask(id => server.info(id));

      done(answer);

      return {
        version: server.version,
        addresses: server.addresses,
        ...JSON.parse(answer.info),
        options: JSON.parse(server.options),
        ledger: server.ledgerTrouble || 'ok',
        node: waits.overdue || server.nodeBehind || 'ok',
        template: server.templateRefused
          || (server.verifies ? 'ok' : 'not verified'),
        leftout: templates.fallback.excluded.size,
        blockpath: server.blockPath,
        deployments: templates.signal.told,
        extranodes: extraNodes.told,
        shared: JSON.parse(server.sharedLedger || 'null')
      };
    }
  },

  listworkers: {
    help: '("account") (count) (from)',
    args: [0, 3],
    async run({server, ask}, args) {
      const [account] = texts(args, ['(account)']);
      const count = whole(args[1], 'count', LIST_MAX);
      const from = whole(args[2], 'from', 0);
      const answer = await ask(id => server.workers(id, account,
        Math.min(count, LIST_MAX), Math.min(from, UINT32_MAX)));

      done(answer);

      return JSON.parse(answer.workers);
    }
  },

  addstratumuser: {
    help: '"user" "password" ("address")',
    args: [2, 3],
    secret: true,
    async run({server, ask}, args) {
      const [user, password, address]
        = texts(args, ['user', 'password', '(address)']);

      return done(await ask(id => server.addUser(id, user, password, address)));
    }
  },

  setstratumpassword: {
    help: '"user" "password"',
    args: [2, 2],
    secret: true,
    async run({server, ask}, args) {
      const [user, password] = texts(args, ['user', 'password']);

      return done(await ask(id => server.setPassword(id, user, password)));
    }
  },

  disablestratumuser: {
    help: '"user"',
    args: [1, 1],
    async run({server, ask}, args) {
      const [user] = texts(args, ['user']);

      return done(await ask(id => server.disableUser(id, user)));
    }
  },

  enablestratumuser: {
    help: '"user"',
    args: [1, 1],
    async run({server, ask}, args) {
      const [user] = texts(args, ['user']);

      return done(await ask(id => server.enableUser(id, user)));
    }
  },

  setstratumaddress: {
    help: '"account" "address"',
    args: [2, 2],
    async run({server, ask}, args) {
      const [account, address] = texts(args, ['account', 'address']);

      await change(ask(id => server.setAddress(id, account, address)));

      return true;
    }
  },

  setstratumthreshold: {
    help: '"account" (hns)',
    args: [1, 2],
    async run({server, ask}, args) {
      const [account] = texts(args, ['account']);
      const hns = amount(args[1], 'hns');

      await change(ask(id => server.setThreshold(id, account, hns)));

      return true;
    }
  },

  stratumpayout: {
    help: '"pause|resume|status"',
    args: [1, 1],
    async run({server, ask}, args) {
      const paused = {__proto__: null, pause: true, resume: false, status: null};

      if (!(args[0] in paused)) {
        throw new RPCError(INVALID_PARAMETER,
          'the argument must be pause, resume or status');
      }

      const answer = await change(ask(id => server.payout(id, paused[args[0]])));

      return JSON.parse(answer.payout);
    }
  },

  banminer: {
    help: '"address" (seconds) ("reason")',
    args: [1, 3],
    async run({server, ask}, args) {
      const [address, reason] = texts([args[0], args[2]],
        ['address', '(reason)']);
      const seconds = whole(args[1], 'seconds', DAY_S);

      return done(await ask((id) => {
        server.ban(id, address, seconds, reason || '');
      }));
    }
  },

  unbanminer: {
    help: '"address"',
    args: [1, 1],
    async run({server, ask}, args) {
      const [address] = texts(args, ['address']);

      return done(await ask(id => server.unban(id, address)));
    }
  },

  liststratumbans: {
    help: '',
    args: [0, 0],
    async run({server, ask}) {
      const answer = await ask(id => server.bans(id));

      done(answer);

      // The native half leaves out fields without a value.
      return answer.bans.map(({until = null, ...ban}) => ({...ban, until}));
    }
  },

  drainstratum: {
    help: '"start|stop" (seconds) ("server")',
    args: [1, 3],
    async run({server, ask}, args) {
      const seconds = whole(args[1], 'seconds', DRAIN_S);
      const [other] = texts([args[2]], ['(server)']);

      if (args[0] !== 'start' && args[0] !== 'stop') {
        throw new RPCError(INVALID_PARAMETER,
          'the first argument must be start or stop');
      }

      if (other != null) {
        const over = args[0] === 'start' ? seconds : null;
        await ask(id => server.drainServer(id, other, over));
        return true;
      }

      return done(await ask(id => args[0] === 'start'
        ? server.drain(id, seconds)
        : server.undrain(id)));
    }
  }
};

/**
 * Add the calls. One whose name the node uses itself stays the node's.
 * @param {Object} rpc - the node's.
 * @param {Plugin} plugin - started.
 * @param {Object} logger
 */

exports.add = function add(rpc, plugin, logger) {
  const {server, calls} = plugin;
  const native = {server, plugin, ask: call => calls.ask(call)};

  hideSecrets(rpc);

  for (const [name, call] of Object.entries(CALLS)) {
    if (rpc.calls[name]) {
      logger.warning('the node has a call %s of its own: ours is not there',
        name);
      continue;
    }

    rpc.add(name, async (args, help) => {
      const [least, most] = call.args;

      if (help || args.length < least || args.length > most)
        throw new RPCError(MISC_ERROR, `${name} ${call.help}`.trim());

      try {
        return await call.run(native, args);
      } catch (e) {
        if (e instanceof RPCError)
          throw e;

        throw new RPCError(e.code === ERR_VALUE
          ? INVALID_ADDRESS_OR_KEY : MISC_ERROR, e.message);
      }
    });
  }
};

/**
 * Keep passwords out of hsd's log, which has the parameters of each call.
 */

function hideSecrets(rpc) {
  const {handleCall} = rpc;

  rpc.handleCall = function handle(cmd, query) {
    const call = CALLS[cmd.method];
    const shown = call && call.secret ? {...cmd, params: ['...']} : cmd;

    return handleCall.call(this, shown, query);
  };
}

/** True, or an error with the reason for which an order was refused. */

function done(answer) {
  if (answer.refused)
    throw new RPCError(KINDS[answer.kind], answer.refused);

  return true;
}

/**
 * The arguments by these names, as strings; one whose name is in brackets may
 * be null.
 */

function texts(args, names) {
  return names.map((name, i) => {
    if (args[i] == null && name.startsWith('('))
      return undefined;

    if (typeof args[i] !== 'string')
      throw new RPCError(TYPE_ERROR,
        `${name.replace(/[()]/g, '')} must be a string`);

    return args[i];
  });
}

/** An amount of HNS as text, from a number or a text; undefined is none. */

function amount(arg, name) {
  if (arg == null)
    return undefined;

  if (typeof arg !== 'number' && typeof arg !== 'string')
    throw new RPCError(TYPE_ERROR, `${name} must be a number`);

  return String(arg);
}

/** A change of an account in the ledger, which may fail to be stored. */

async function change(stored) {
  try {
    return await stored;
  } catch (e) {
    if (e.code === ERR_VALUE)
      throw e;
    throw new RPCError(DATABASE_ERROR, e.message);
  }
}

/** A whole number from 0, or the fallback. */

function whole(arg, name, fallback) {
  if (arg == null)
    return fallback;

  if (!Number.isSafeInteger(arg) || arg < 0) {
    throw new RPCError(TYPE_ERROR,
      `${name} must be a whole number from 0`);
  }

  return arg;
}

/**
 * An error that hsd answers with its code and message (bweb lib/rpc.js,
 * getCode).
 */

class RPCError extends Error {
  constructor(code, message) {
    super(message);
    this.type = 'RPCError';
    this.code = code;
  }
}
