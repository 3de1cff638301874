<?php
// php-memcached (libmemcached, text and binary) and php-memcache, each command tried.
//     php client_php.php memcached-text|memcached-binary|memcache HOST PORT
// Prints `ok NAME` or `not ok NAME` per test.

[, $mode, $host, $port] = $argv;
$failed = 0;

function check(string $name, bool $passed): void
{
    global $failed;
    echo ($passed ? 'ok ' : 'not ok ') . $name . "\n";
    $failed = $passed ? $failed : 1;
}

function check_both($m): void
{
    check('set and get', $m->set('a', 'value') && $m->get('a') === 'value');
    check('a missing key', $m->get('nothing') === false);
    check('bytes', $m->set('a', "\0\xff\r\nEND\r\n") && $m->get('a') === "\0\xff\r\nEND\r\n");
    check('types', $m->set('a', ['x' => [1, 2.5, true]]) && $m->get('a') === ['x' => [1, 2.5, true]]
        && $m->set('a', 42) && $m->get('a') == 42);
    $large = str_repeat(implode('', array_map('chr', range(0, 255))), 3000);
    check('a large value', $m->set('a', $large) && $m->get('a') === $large);
    $m->delete('a');
    check('replace of nothing', !$m->replace('a', '1'));
    check('add', $m->add('a', '1') && !$m->add('a', '2') && $m->get('a') === '1');
    check('replace', $m->replace('a', '2') && $m->get('a') === '2');
    check('delete', $m->delete('a') && $m->get('a') === false && !$m->delete('a'));
    check('incr and decr', $m->set('n', '10') && $m->increment('n', 5) === 15
        && $m->decrement('n', 7) === 8);
    check('incr of nothing', $m->increment('nonumber') === false || $m->delete('nonumber'));
}

function check_memcached(Memcached $m, bool $binary): void
{
    $m->setOption(Memcached::OPT_COMPRESSION, false);
    check('append and prepend', $m->set('a', 'b') && $m->append('a', 'c') && $m->prepend('a', 'a')
        && $m->get('a') === 'abc');
    $values = [];
    for ($i = 0; $i < 300; $i++) {
        $values["key$i"] = "value$i";
    }
    check('setMulti', $m->setMulti($values));
    check('getMulti', $m->getMulti(array_merge(array_keys($values), ['nothing'])) == $values);
    check('getDelayed', $m->getDelayed(['key1', 'key2'], true) && count($m->fetchAll()) === 2);
    check('deleteMulti', !in_array(false, $m->deleteMulti(array_keys($values)), true)
        && $m->getMulti(array_keys($values)) === []);
    $m->set('c', 'one');
    $got = $m->get('c', null, Memcached::GET_EXTENDED);
    check('cas', $m->cas($got['cas'], 'c', 'two') && !$m->cas($got['cas'], 'c', 'three')
        && $m->get('c') === 'two');
    check('touch', $m->touch('c', 100) && $m->get('c') === 'two' && !$m->touch('nothing', 100));
    check('a time to live', $m->set('t', '1', 1000) && $m->get('t') === '1');
    check('version', array_values($m->getVersion()) === ['1.6.45']);
    $stats = array_values($m->getStats());
    check('stats', ($stats[0]['version'] ?? '') === '1.6.45' && $stats[0]['curr_items'] > 0);
    if ($binary) {
        check('incr that creates', $m->increment('fresh', 1, 100) === 100
            && $m->increment('fresh', 1, 100) === 101);
    }
    check('flush', $m->flush() && $m->get('c') === false);
    $m->setOption(Memcached::OPT_COMPRESSION, true);
    $text = str_repeat('compress me ', 10000);
    check('a compressed value', $m->set('z', $text) && $m->get('z') === $text);
}

function check_memcache(Memcache $m, string $host, string $port): void
{
    $text = str_repeat('compress me ', 10000);
    check('a compressed value', $m->set('z', $text, MEMCACHE_COMPRESSED) && $m->get('z') === $text);
    $m->set('x', '1');
    $m->set('y', '2');
    check('many keys', $m->get(['x', 'y', 'nothing']) == ['x' => '1', 'y' => '2']);
    check('version', $m->getVersion() === '1.6.45');
    $stats = $m->getStats();
    check('stats', $stats['version'] === '1.6.45' && isset($stats['curr_items']));
    check('stats items', is_array($m->getStats('items')));
    check('status', $m->getServerStatus($host, (int) $port) !== 0);
    check('a time to live', $m->set('t', '1', 0, 1000) && $m->get('t') === '1');
    check('flush', $m->flush() && $m->get('x') === false);
}

if ($mode === 'memcache') {
    if (!class_exists('Memcache')) {
        exit("skip: php-memcache is not installed\n");
    }
    $m = new Memcache();
    $m->addServer($host, (int) $port);
    check_both($m);
    check_memcache($m, $host, $port);
} else {
    if (!class_exists('Memcached')) {
        exit("skip: php-memcached is not installed\n");
    }
    $m = new Memcached();
    $m->setOption(Memcached::OPT_BINARY_PROTOCOL, $mode === 'memcached-binary');
    $m->addServer($host, (int) $port);
    check_both($m);
    check_memcached($m, $mode === 'memcached-binary');
}
exit($failed);
