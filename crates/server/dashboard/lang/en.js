// English: the texts of the dashboard. `{names}` stand for values; a text with
// `{count}` may have a form for each plural category of the language.

export default {
  // Around every page.
  'page.language': 'Language',
  'page.skip': 'Skip to content',
  'page.sections': 'Sections',
  'page.api': 'API',
  'page.metrics': 'Metrics',
  'page.version': 'hstratum {version} · difficulty {difficulty} · up {time}',
  'page.live': 'live',
  'page.lost': 'not connected',
  'page.lost_long': 'The connection to the server is lost. What you see is '
    + 'old; it is tried again by itself.',

  // Numbers and times.
  'text.percent': '{number} %',
  'text.comma': ', ',
  'text.semicolon': '; ',
  'text.because': ': {reason}',
  'time.ms': '{ms} ms',
  'time.s': '{s} s',
  'time.min': '{min} min',
  'time.h': '{h} h {min} min',
  'time.d': '{d} d {h} h',
  'time.now': 'just now',
  'time.ago': '{time} ago',
  'time.ahead': 'in {time}',

  // States.
  'state.abandoned': 'abandoned',
  'state.accepted': 'accepted',
  'state.confirmed': 'confirmed',
  'state.found': 'found',
  'state.open': 'open',
  'state.orphaned': 'orphaned',
  'state.owed': 'owed',
  'state.paid': 'paid',
  'state.paying': 'paying',
  'state.pending': 'pending',
  'state.preparing': 'preparing',
  'state.refused': 'refused',
  'state.reversed': 'reversed',
  'state.sent': 'sent',
  'state.signed': 'signed',
  'deployment.active': 'active',
  'deployment.defined': 'defined',
  'deployment.failed': 'failed',
  'deployment.locked_in': 'locked in',
  'deployment.started': 'started',

  // The pool.
  'pool.title': 'Pool',
  'pool.back': '← Pool',
  'pool.hashrate': 'Pool hashrate',
  'pool.share': 'Of the network',
  'pool.network': 'Network',
  'pool.stale': '{percent} stale',
  'pool.height': 'Mining height',
  'pool.job_age': 'job {time} old',
  'pool.accounts': {one: 'of 1 account', other: 'of {count} accounts'},

  // What is wrong, and what is hidden.
  'note.no_job': 'There is no job for miners{because}.',
  'note.ledger_failing': 'The ledger cannot be written and shares are refused: '
    + '{reason}.',
  'note.ledger_stalled': 'Another process holds the ledger: shares wait for '
    + 'it, unanswered.',
  'note.node_overdue': 'The node does not answer: {reason}. Blocks without '
    + 'transactions are mined meanwhile, or none.',
  'note.template_invalid': 'The network would refuse the block of the node\'s '
    + 'template: {reason}. Miners get what is valid of it.',
  'note.block_path': 'A found block would be lost: {reason}. A drill with a '
    + 'made-up one has shown it: start the node again.',
  'note.node_behind': 'The node is behind: {reason}. No block is confirmed and '
    + 'nobody is paid until it has caught up.',
  'note.payout_failed': 'The payout failed: {reason}. Nothing is lost, and it '
    + 'is tried again every minute.',
  'note.payout_waits': 'The payout waits: {reason}.',
  'note.payout_paused': 'Payouts are {reason}: nobody is paid before '
    + '"hstratum payout resume".',
  'note.wallet': 'The wallet "{name}" that pays: {reason}.',
  'note.undone': 'Not done for over a minute: {names}. The log of the node '
    + 'says why.',
  'note.shared_ledger': 'The shared ledger cannot be read: lists and history '
    + 'are old until it is back. Mining goes on. {reason}.',
  'note.extra_node': 'The extra node {address} is not connected: {reason}. '
    + 'Found blocks reach it later, from other nodes.',
  'note.difference': 'Servers of this pool differ. {reason}.',
  'note.crowded': 'Connections find no place: {taken} of {all} are taken, '
    + '{strangers} by miners that have not logged in, {unproven} by some '
    + 'without an accepted share. Since the start {refused} were refused and '
    + '{gone} gave way.',
  'note.crowded_descriptors': 'Connections find no place: {taken} of {all} are '
    + 'taken, {strangers} by miners that have not logged in, {unproven} by '
    + 'some without an accepted share. Since the start {refused} were refused '
    + 'and {gone} gave way; {left} descriptors are left.',
  'note.private': 'Accounts and workers are shown to their miners, who sign '
    + 'in, and to the owner of the pool.',
  'note.cut': 'Names are cut. Open /account/ and your whole name, for your own '
    + 'page.',
  'note.cut_sign_in': 'Names are cut. Sign in, or open /account/ and your '
    + 'whole name, for your own page.',
  'note.in_memory': 'The node runs in memory: there is no history, and nothing '
    + 'is kept.',

  // The open round.
  'round.title': 'This round',
  'round.effort': 'Effort of the open round',
  'round.of_block': '{effort} of the work a block takes',
  'round.last_block': 'Last block',
  'round.shares': 'Shares',
  'round.next': 'A block takes about',
  'round.reward': 'It pays',
  'round.luck': 'Luck, last 100 blocks',
  'round.luckiest': 'Luckiest block',
  'round.unluckiest': 'Unluckiest block',
  'round.record': '{effort}, {block}',
  'round.votes': 'Votes',
  'round.votes_none': 'none is open',
  'round.vote_for': 'for {name} (bit {bit}, {state})',
  'round.vote_against': 'not for {name} (bit {bit}, {state})',
  'round.nodes': 'Extra nodes',
  'round.nodes_connected': '{connected} of {all} connected',
  'round.node': '{address}: {state}',
  'round.node_connected': 'connected',
  'round.node_waits': 'not connected yet',
  'text.none_yet': 'none yet',

  // Connecting a miner.
  'connect.title': 'Connect a miner',
  'connect.nav': 'Connect',
  'connect.copy': 'Copy',
  'connect.copied': 'Copied',
  'connect.by_hand': 'Select it and copy by hand',
  'connect.copy_what': 'Copy: {what}',
  'connect.steps': 'What to type into a miner, and whether it has arrived',
  'connect.who': 'Who mines',
  'connect.worker': 'Machine, if there are several',
  'connect.port': 'Port {port}',
  'connect.unknown': 'port {port} of this server',
  'connect.transport': 'Connection',
  'connect.dynamic': 'starts at {difficulty}, then follows the speed of the '
    + 'miner',
  'connect.fixed': '{difficulty}, unless the miner asks for another',
  'connect.no_job': 'There is no job for miners now: connections are refused '
    + 'until there is one.',
  'connect.behind_proxy': 'Miners come to this pool by a proxy. It has ports of '
    + 'its own, which this server does not know: the owner of the pool tells '
    + 'them.',
  'connect.servers': 'The pool has several servers. These are the addresses of '
    + 'the one that shows this page.',
  'connect.loopback': 'An address below is for miners on the machine of the '
    + 'server. Others need the name or the address that it has in the network.',
  'connect.your_account': 'YOUR-ACCOUNT',
  'connect.your_address': 'YOUR-ADDRESS',
  'connect.your_password': 'YOUR-PASSWORD',
  'connect.goldshell': 'On the page of the box, among its pools',
  'connect.handyminer': 'In its config.json, instead of the lines of the same '
    + 'names',
  'connect.mine': 'A miner for the processor, to try the pool',
  'connect.tls_only': 'For miners that speak TLS: others do not connect here.',
  'connect.url': 'URL',
  'connect.user': 'User',
  'connect.command': 'Command',
  'transport.tcp': 'plain TCP',
  'transport.tls': 'TLS',
  'transport.auto': 'plain TCP or TLS, as the miner begins',
  'listener_pays.operator': 'the owner of the pool, who divides it',
  'listener_pays.split': 'the accounts directly',
  'listener_pays.solo': 'its finder: the user is an address, or an account '
    + 'that is paid at one',
  'check.nothing': 'With an account typed here, the lines below are complete, '
    + 'and you see whether its miners have arrived.',
  'check.sign_in': 'Sign in to see whether your miner has arrived',
  'check.hidden': 'Whether a miner has arrived is not shown here.',
  'check.nobody': 'No miner of {account} is connected. This is looked at again '
    + 'every five seconds.',
  'check.mines': '{worker}: connected {since}, last share accepted {last}',
  'check.no_share': '{worker}: connected {since}, no share yet',
  'check.rejected': '{worker}: connected {since}, no share accepted, some '
    + 'rejected',
  'check.elsewhere': '{worker}: mines on {servers}',
  'check.refused': '{name} was refused {last}: {reason}',
  'connect.code': 'The address as a QR code',
  'login.open': 'User: account.worker, and the password: any, or an account\'s',
  'login.users': 'User: account.worker, and the password: the account\'s',
  'login.address': 'User: your address.worker, and the password: any',

  // The money.
  'money.title': 'Where the money goes',
  'money.pays': 'Each block pays {address}',
  'money.pays_accounts': 'Each block pays the accounts directly, and its fee '
    + 'and what is too small for an output to {address}',
  'money.address_later': 'an address that the first job will tell',
  'money.in_memory': 'The node runs in memory: nobody is owed anything.',
  'money.scheme': 'Scheme',
  'money.fee': 'Fee',
  'money.threshold': 'Threshold',
  'money.owed': 'Owed to accounts',
  'money.owed_age': 'Pending blocks included, as of {time} ago',
  'money.wallet': 'In the wallet',
  'money.last': 'Last payment',
  'money.next': 'Next payment',
  'money.next_by_owner': 'when the owner makes it',
  'money.next_unknown': 'not known',
  'money.pplns': 'PPLNS, window {window}',
  'money.prop_means': 'A block is divided by the shares since the pool\'s '
    + 'block before',
  'money.pplns_means': 'A block is divided by the last shares before it, as '
    + 'many as make {window} times the network\'s difficulty',
  'money.split': 'A balance is what the owner of that address owes an account: '
    + 'parts too small for an output. Later blocks pay it with the account\'s '
    + 'part.',
  'money.every': 'A balance is what the owner of that address owes an account '
    + 'for its shares. The server divides blocks and pays every {time}: {paid}',
  'money.by_hand': 'A balance is what the owner of that address owes an '
    + 'account for its shares. It changes only when the owner runs "hstratum '
    + 'payout", which divides blocks and pays {paid}',
  'paid.open': 'accounts that have an address. If you mine alone, all of it is '
    + 'at that address already.',
  'paid.users': 'accounts that have an address.',
  'paid.address': 'the address that is the account\'s name.',

  // Events.
  'events.title': 'Events',
  'events.none': 'Nothing has happened yet.',
  'event.block': 'Block {height} {state}{because}',
  'event.block_by': 'Block {height} {state} by {account}{because}',
  'event.no_job': 'No job for miners{because}',
  'event.job': 'There is a job for miners',
  'event.ledger_failing': 'The ledger cannot be written, shares are refused',
  'event.ledger_open': 'The ledger takes shares again',
  'event.silent': 'The pool does not answer',

  // Hashrates over time.
  'chart.none': 'The first ten minutes of mining will show here.',
  'chart.ranges': 'Time shown',
  'chart.range.day': 'Day',
  'chart.range.week': 'Week',
  'chart.range.year': 'Year',
  'chart.last.day': 'day',
  'chart.last.week': 'week',
  'chart.last.year': 'year',
  'chart.summary': 'Hashrate over the last {last}: now {now}, at most {most}, '
    + 'at least {least}.',
  'chart.date': '{day} {month}',
  'chart.share': '{percent} of the network',

  // Tables.
  'table.previous': 'Previous',
  'table.next': 'Next',
  'table.where': '{first}–{last} of {total}',
  'table.none_found': 'Nothing has that in its name.',
  'text.no_name': 'no name',
  'accounts.title': 'Accounts',
  'accounts.find': 'Find an account',
  'accounts.none': 'Accounts appear here when they mine.',
  'label.account': 'Account',
  'workers.title': 'Workers',
  'workers.find': 'Find a worker',
  'workers.none': 'No miner yet. Point one at',
  'workers.this_server': 'this server',
  'workers.none_name': 'with any worker name, for example {name}.',
  'label.worker': 'Worker',
  'worker.online': 'online',
  'worker.away': 'away',
  'worker.blocks_only': 'blocks only',
  'worker.blocks_only_means': 'It sends blocks only: its hashrate is known '
    + 'from its blocks alone',
  'worker.rejected': '{stale} stale, {low} low, {duplicate} duplicate of the '
    + 'last hour',
  'label.hashrate': 'Hashrate',
  'label.hashrate_1h': '1 h',
  'label.hashrate_24h': '24 h',
  'label.difficulty': 'Difficulty',
  'label.rejected': 'Rejected',
  'label.last_share': 'Last share',
  'label.balance': 'Balance',

  // Blocks.
  'blocks.title': 'Blocks',
  'blocks.none': 'No block yet. Each one that the pool finds will be here.',
  'block.title': 'Block',
  'block.number': 'Block {height}',
  'block.height': 'Height',
  'block.state': 'State',
  'block.pays': 'Pays',
  'block.found': 'Found',
  'block.by': 'By',
  'block.confirmations': 'Confirmations',
  'block.confirmed': 'Confirmations: {number}',
  'block.accepted': '{state}, {number}',
  'block.effort': 'Effort',
  'block.reward': 'Reward',
  'block.hash': 'Hash',
  'block.first_asked': 'First asked',
  'block.divided': 'Divided',
  'block.fee': 'Fee',
  'block.paid': 'Paid by it',
  'payout.operator': 'operator',
  'payout.solo': 'solo',
  'payout.split': 'split',
  'payout_means.operator': 'The operator, who divides it',
  'payout_means.solo': 'Its finder, by its coinbase',
  'payout_means.split': 'The accounts, by its coinbase',
  'race.no_rival': 'no rival seen',
  'race.rival': 'rival {hash} seen {time} from the solution',
  'race.rival_short': 'rival {time}',
  'race.not_announced': 'not announced',
  'race.announced': {
    one: 'announced to 1 peer after {time}',
    other: 'announced to {count} peers after {time}'
  },
  'race.asked': '{count} asked within {time}',

  // Who is paid by a block.
  'split.title': 'Who is paid',
  'split.next': 'What the next block pays',
  'split.next_none': 'No account has work in the window.',
  'split.next_about': 'Of {reward} of block {height}, {paid} to accounts; fee '
    + '{fee}',
  'split.none': 'A block is divided when its reward can be spent; a solo block '
    + 'pays its finder and is not divided.',
  'split.part': 'Part',
  'split.part_means': 'What the account has earned of the block',
  'split.paid': 'Paid by the block',
  'split.paid_none': 'Too small for an output, or no address: it becomes '
    + 'balance',
  'split.paid_more': 'Balance is paid too: {amount}',
  'split.paid_less': 'The rest becomes balance: {amount}',
  'label.address': 'Address',

  // Servers that share a ledger.
  'servers.title': 'Servers',
  'servers.none': 'No server.',
  'label.server': 'Server',
  'server.shipped': 'Shipped up to',
  'server.behind': 'Behind',
  'server.behind_means': 'Batches of shares that are not in the shared ledger '
    + 'yet',
  'server.away': 'away, seen {time} ago',
  'server.draining': 'draining',
  'server.no_job': 'no job',

  // Refused logins.
  'refusals.title': 'Refused logins',
  'refusals.none': 'None.',
  'refusals.name': 'Last name',
  'refusals.why': 'Why',
  'refusals.logins': 'Logins',
  'refusals.last': 'Last',
  'refusals.several': '{reason}: {number}',
  'refused.admin_password': 'wrong password of the admin',
  'refused.disabled': 'the account is disabled',
  'refused.guesses': 'too many wrong passwords of the admin',
  'refused.malformed': 'no name, or too long',
  'refused.names': 'too many names on a connection',
  'refused.no_address': 'no address that can be paid',
  'refused.other_payee': 'another address than that of its connection',
  'refused.no_admin': 'no password of an admin is set',
  'refused.proof': 'a proxy with another secret',
  'refused.unknown_user': 'no such user',
  'refused.wrong_password': 'wrong password',

  // An account's own page.
  'own.last_hour': 'Last hour',
  'own.last_day': 'Last day',
  'own.workers': 'Workers online',
  'own.workers_of': 'of {number}',
  'own.rejected': 'Rejected, last hour',
  'own.pending': 'Pending',
  'own.paid': 'Paid',
  'own.threshold': 'Threshold',
  'own.round': 'Of the open round',
  'own.if_found': 'If found now',
  'own.per_day': 'Expected per day',
  'own.best_share': 'Best share',
  'own.alone': 'A block alone takes',
  'own.odds': 'Odds of a block in a day',
  'own.no_worker': 'This account has no worker now.',
  'own.no_block': 'No block was found by this account’s shares yet.',
  'own.paid_later': 'From {date} on ({time}) paid at {address}',
  'own.paid_at': 'Paid at {address}',
  'own.last_share': 'Last share {time}',
  'own.nobody': 'Nobody of this name has mined here. A name is what stands '
    + 'before the first dot of a miner’s user.',
  'own.payout_failed': 'The last payout failed. Nothing is lost, and it is '
    + 'tried again.',
  'own.payout_paused': 'Payouts are paused by the owner of the pool.',
  'own.next_reaches': 'Next payment {time}: this account has reached its '
    + 'threshold by then.',
  'own.next_stays': 'Next payment {time}: this account stays below its '
    + 'threshold, and its balance is kept.',
  'own.pending_means': 'Its part of the blocks on the main chain that are not '
    + 'divided yet. It becomes balance if they stay there. {age}',
  'own.if_found_means': 'Its part of a block if the pool found it now. {age}',
  'own.per_day_means': 'At its hashrate of the last day, less the pool\'s fee. '
    + 'Luck makes it more or less. {age}',
  'own.best_share_means': 'The greatest difficulty that a share of it has met '
    + 'since this server started. At the network\'s difficulty it is a block.',
  'own.alone_means': 'At its own hashrate of the last day, on average, and at '
    + 'the network\'s difficulty now.',
  'own.age': 'As of {time} ago.',
  'own.age_unknown': 'Not known now.',

  // Credits and payouts of an account.
  'credits.title': 'Credits',
  'credits.none': 'No block has brought anything yet.',
  'credits.csv': 'CSV',
  'credits.paid': 'Paid',
  'credit_means.pending': 'The reward of the block cannot be spent yet',
  'credit_means.owed': 'It is in the balance',
  'credit_means.paying': 'A payment is on its way',
  'credit_means.paid': 'It is paid',
  'credit_means.reversed': 'The block was lost after it had been divided',
  'label.amount': 'Amount',
  'label.transaction': 'Transaction',
  'payouts.title': 'Payouts',
  'payouts.none': 'Nothing was paid yet.',
  'payouts.when': 'When',
  'payouts.by': 'By',
  'payouts.block': 'a block itself',
  'payouts.wallet': 'the wallet',

  // Signing in.
  'sign_in.title': 'Sign in',
  'sign_in.out': 'Sign out',
  'sign_in.owner': 'The owner of the pool',
  'sign_in.password': 'Password',
  'sign_in.token': 'The token of the pool’s owner (http-token)',
  'sign_in.as_miner': 'With the name and the password that your miners have.',
  'sign_in.as_address': 'My account is an address',
  'sign_in.as_owner': 'I own the pool',
  'sign_in.signature': 'Signature',
  'sign_in.how': 'Sign this text with the wallet that has the address. In Bob: '
    + 'Sign message. With hsd: {command}',
  'sign_in.next': 'Next',

  // Links that show an account, and keys for programs.
  'links.title': 'Read-only links',
  'links.means': 'Whoever has a link sees this account: its workers, '
    + 'hashrates, credits and payments. These settings stay yours.',
  'links.make': 'Make a link',
  'links.none': 'No link yet.',
  'links.once': 'Copy this link now. It is not shown again.',
  'link.means': 'You see this account by a link from its owner. Nothing can be '
    + 'changed here.',
  'link.leave': 'Leave',
  'link.ended': 'This link has ended',
  'link.ended_means': 'The owner of the account has revoked it, or it is not '
    + 'whole. Ask for another one.',
  'keys.title': 'API keys',
  'keys.means': 'Programs ask with a key in your name: in the header '
    + 'Authorization: Bearer, and without your password.',
  'keys.name': 'Name',
  'keys.may': 'It may',
  'key_may.read': 'read',
  'key_may.settings': 'read, and set the threshold',
  'keys.make': 'Make a key',
  'keys.none': 'No key yet.',
  'keys.once': 'Copy this key now. It is not shown again.',
  'keys.made': 'made {date}',
  'keys.revoke': 'Revoke',
  'keys.revoke_named': 'Revoke {name}',

  // Settings of an account.
  'settings.title': 'Settings',
  'settings.threshold': 'Pay me from this balance on, in HNS; empty: the '
    + 'pool’s rule',
  'settings.threshold_set': 'Set the threshold',
  'settings.threshold_done': 'The threshold is set.',
  'settings.amount_wrong': 'An amount has digits, and six behind the point at '
    + 'most.',
  'settings.address': 'New payout address',
  'settings.address_set': 'Set the payout address',
  'settings.address_title': 'Payout address',
  'settings.address_password': 'By password',
  'settings.address_done': 'The address is set.',
  'settings.address_next': 'From {date} on ({time}) you are paid at {address}. '
    + 'If you did not ask for that, cancel it, and change your password if '
    + 'you have one.',
  'settings.address_keep': 'Cancel that',
  'settings.password_new': 'New password, also for your miners',
  'settings.password_means': 'A new one signs you out everywhere, and revokes '
    + 'all links and keys.',
  'settings.password_change': 'Change the password',

  // What an account is told, and where.
  'alerts.title': 'Alerts',
  'alerts.mail': 'Mail',
  'alerts.telegram': 'Telegram',
  'alerts.ntfy': 'ntfy',
  'alerts.to_mail': 'Mail address',
  'alerts.to_telegram': 'Number of your chat with the pool’s bot; press Start '
    + 'there first',
  'alerts.to_ntfy': 'Topic that only you know',
  'alerts.send_code': 'Send a code',
  'alerts.code_sent': 'A code was sent there. It is good for 15 minutes.',
  'alerts.code': 'Code',
  'alerts.confirm': 'Confirm',
  'alerts.contact': '{way}: {to}',
  'alerts.told_nothing': 'Nothing was sent yet.',
  'alerts.told': 'Last message {time}.',
  'alerts.failure': 'The last message was not taken ({reason}); it is tried '
    + 'again for a day.',
  'alerts.waiting': {one: '{count} alert waits.', other: '{count} alerts wait.'},
  'alerts.given_up': {one: '{count} alert was given up.',
    other: '{count} alerts were given up.'},
  'alerts.remove': 'Remove',
  'alerts.another': 'Another one',
  'alerts.silent_minutes': 'A worker has sent nothing for so many minutes; '
    + 'empty: never',
  'alerts.drop_percent': 'The hashrate has fallen by so many percent; empty: '
    + 'never',
  'alerts.blocks': 'My miner has found a block',
  'alerts.payments': 'I was paid',
  'alerts.sign_ins': 'Somebody has signed in',
  'alerts.changes': 'My account was changed',
  'alerts.set': 'Set the alerts',

  // The operator's console.
  'console.title': 'Console',
  'console.for_owner': 'This page is for the owner of the pool, who signs in '
    + 'with the token of the option http-token.',
  'console.alarms': 'What is wrong now',
  'console.well': 'Nothing.',
  'console.last_alarms': 'Last alarms',
  'console.no_alarm': 'None since the server started.',
  'console.log': 'Log',
  'severity.ok': 'ok',
  'severity.info': 'info',
  'severity.warning': 'warning',
  'severity.error': 'error',
  'severity.problem': 'problem',
  'condition.no_job': 'No job for miners',
  'condition.no_peers': 'No job for miners: the node has no peers',
  'condition.block_path_broken': 'A found block would be lost',
  'condition.template_invalid': 'The node\'s template is invalid',
  'condition.node_overdue': 'The node does not answer',
  'condition.node_behind': 'The node is behind',
  'condition.extra_node_away': 'An extra node is not connected',
  'condition.ledger_failing': 'The ledger cannot be written',
  'condition.ledger_stalled': 'Another process holds the ledger',
  'condition.ledger_log_large': 'The ledger\'s log is large',
  'condition.duty_late': 'Not done for over a minute',
  'condition.connections_refused': 'Connections find no place',
  'condition.shared_ledger_away': 'The shared ledger cannot be read',
  'condition.server_id_twice': 'Two servers have one name',
  'condition.settings_differ': 'Servers of the pool differ',
  'condition.payout_failed': 'The payout failed',
  'condition.payout_waits': 'The payout waits',
  'condition.payout_paused': 'Payouts are paused',
  'condition.wallet_trouble': 'The wallet that pays cannot pay',

  // Its payouts and the doctor.
  'console.payouts': 'Payouts now',
  'payout_state.off': 'The server does not pay by itself',
  'payout_state.scheduled': 'The server pays by itself',
  'payout_state.pays': 'A payout is at work',
  'payout_state.waits': 'The payout waits',
  'payout_state.paused': 'Payouts are paused',
  'payout_state.failed': 'The last payout failed',
  'plan.due': 'Due now',
  'plan.due_to': {one: '{amount} to 1 account',
    other: '{amount} to {count} accounts'},
  'plan.later': 'Balances after that',
  'plan.wallet': 'Wallet',
  'plan.held': 'Blocks that wait',
  'plan.waiting': 'Balances that wait',
  'plan.wait': {one: '{reason}: 1 account', other: '{reason}: {count} accounts'},
  'plan.blocks': 'Blocks to be divided',
  'plan.divided': {one: 'to 1 account', other: 'to {count} accounts'},
  'plan.payees': 'To be paid, the largest first',
  'plan.servers': 'Servers whose shares are waited for',
  'plan.server': 'all shares up to height {height} are here; seen {time} ago',
  'plan.server_gone': 'not waited for; seen {time} ago, shares up to height '
    + '{height}',
  'plan.more': {one: '1 more', other: '{count} more'},
  'held.unanswered': 'the node has not answered',
  'held.immature': 'its reward cannot be spent yet',
  'held.behind': 'a lower block comes first',
  'held.unshipped': 'a server has not shipped all work up to it',
  'held.lost': 'off the main chain, not yet for good',
  'held.incomplete': 'credit of it is deleted: it is never divided',
  'held.inexact': 'it came too late to tell its work: settle it by hand',
  'wait.owes': 'owes: a block was lost after it was paid',
  'wait.below_threshold': 'below the threshold',
  'wait.in_coinbase': 'paid by the blocks themselves',
  'wait.no_address': 'no address',
  'doctor.title': 'The doctor',
  'doctor.not_yet': 'It looks at options, files, limits, the node and the port '
    + 'of miners, where it logs in as a miner would.',
  'doctor.look': 'Look now',
  'doctor.again': 'Look again',
  'doctor.looks': 'It is looking …',
  'doctor.age': 'As of {time} ago; it looks again after a minute.',
  'part.configuration': 'Options',
  'part.files': 'Files',
  'part.machine': 'Machine',
  'part.node': 'Node',
  'part.dashboard': 'Dashboard',
  'part.miners': 'Port of miners'
};
