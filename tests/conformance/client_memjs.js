// memjs (binary protocol, with and without a SASL login), each command tried.
//     node client_memjs.js HOST:PORT [USER PASSWORD]
// Prints `ok NAME` or `not ok NAME` per test.
'use strict';
const { createRequire } = require('module');
const path = require('path');

// The packages are installed where we build, not here.
const load = createRequire(path.join(process.env.CONFORMANCE_PACKAGES || __dirname, 'x.js'));
const memjs = load('memjs');
const [address, username, password] = process.argv.slice(2);
let failed = 0;

function check(name, passed) {
    console.log((passed ? 'ok ' : 'not ok ') + name);
    if (!passed)
        failed = 1;
}

function isText(found, text) {
    return found.value !== null && found.value.toString() === text;
}

async function checkCommands(m) {
    check('set', await m.set('a', 'value', {}));
    check('get', isText(await m.get('a'), 'value'));
    check('a missing key', (await m.get('nothing')).value === null);
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
    await m.set('bytes', bytes, { expires: 100 });
    check('bytes', bytes.equals((await m.get('bytes')).value));
    const large = Buffer.alloc(900000, bytes);
    await m.set('large', large, {});
    check('a large value', large.equals((await m.get('large')).value));
    await m.delete('x');
    check('add', await m.add('x', '1', {}) && !(await m.add('x', '2', {})));
    check('replace', await m.replace('x', '3', {}) && !(await m.replace('nothing', '1', {})));
    // Its prepend sends the opcode of append, so only that one is tried.
    check('append', await m.append('x', '4') && isText(await m.get('x'), '34'));
    check('append to nothing', await m.append('nothing', '1').then((done) => !done, () => true));
    await m.delete('n');
    check('increment', (await m.increment('n', 5, { initial: 10 })).value === 10
        && (await m.increment('n', 5, { initial: 10 })).value === 15);
    check('decrement', (await m.decrement('n', 7, {})).value === 8);
    check('touch', await m.touch('x', 100) && isText(await m.get('x'), '34'));
    check('delete', await m.delete('x') && !(await m.delete('x')));
    await Promise.all(Array.from({ length: 200 }, (_, i) => m.set('p' + i, 'v' + i, {})));
    const found = await Promise.all(Array.from({ length: 200 }, (_, i) => m.get('p' + i)));
    check('200 at once', found.every((one, i) => isText(one, 'v' + i)));
    await new Promise((done) => m.stats((wrong, server, stats) => {
        check('stats', !wrong && stats && stats.version === '1.6.45');
        done();
    }));
    await m.flush();
    check('flush', (await m.get('p1')).value === null);
}

async function main() {
    const options = { retries: 1, timeout: 5, username, password };
    const m = memjs.Client.create(address, options);
    await checkCommands(m);
    m.close();
    if (password !== undefined) {
        const wrong = memjs.Client.create(address, { ...options, password: 'wrong' });
        const refused = await wrong.set('a', '1', {}).then((done) => !done, () => true);
        check('a wrong password', refused);
        wrong.close();
    }
    process.exit(failed);
}

main().catch((wrong) => {
    console.log('not ok ' + wrong);
    process.exit(1);
});
