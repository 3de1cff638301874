#!/usr/bin/perl
# Cache::Memcached and Cache::Memcached::Fast, each command tried.
#     client_perl.pl Cache::Memcached|Cache::Memcached::Fast HOST:PORT
# Prints `ok NAME` or `not ok NAME` per test.
use strict;
use warnings;

my ($class, $address) = @ARGV;
(my $file = "$class.pm") =~ s{::}{/}g;
eval { require $file; 1 } or do { print "skip: $class is not installed\n"; exit 0 };
my $is_fast = $class eq 'Cache::Memcached::Fast';
my $m = $class->new({ servers => [$address], namespace => 'perl:', compress_threshold => 100_000 });
my $failed = 0;

sub check {
    my ($name, $passed) = @_;
    print $passed ? "ok $name\n" : "not ok $name\n";
    $failed = 1 unless $passed;
}

sub same { my ($found, $wanted) = @_; return defined $found && $found eq $wanted }

check('set and get', $m->set('a', 'value') && same($m->get('a'), 'value'));
check('a missing key', !defined $m->get('nothing'));
check('bytes', $m->set('a', "\0\xff\r\nEND\r\n") && same($m->get('a'), "\0\xff\r\nEND\r\n"));
check('an empty value', $m->set('a', '') && same($m->get('a'), ''));
check('a time to live', $m->set('a', 'x', 100) && same($m->get('a'), 'x'));
check('a structure', $m->set('a', { list => [1, 2, 3] }) && $m->get('a')->{list}[2] == 3);
check('a compressed value', $m->set('a', 'abc' x 200_000) && same($m->get('a'), 'abc' x 200_000));
my $noise = join '', map { chr(($_ * 7919) % 256) } 1 .. 90_000;
check('a large value', $m->set('a', $noise) && same($m->get('a'), $noise));
$m->delete('a');
check('replace of nothing', !$m->replace('a', '1'));
check('add', $m->add('a', '1') && !$m->add('a', '2') && same($m->get('a'), '1'));
check('replace', $m->replace('a', '2') && same($m->get('a'), '2'));
if ($is_fast || $m->can('append')) {
    check('append and prepend',
          $m->append('a', '3') && $m->prepend('a', '1') && same($m->get('a'), '123'));
}
check('incr and decr', $m->set('n', 10) && $m->incr('n', 5) == 15 && $m->decr('n', 7) == 8);
check('incr of nothing', !$m->incr('nonumber'));
check('delete', $m->delete('a') && !defined $m->get('a') && !$m->delete('a'));

my %values = map { ("key$_" => "value$_") } 1 .. 300;
if ($is_fast) {
    my @stored = $m->set_multi(map { [$_, $values{$_}] } keys %values);
    check('set_multi', 300 == grep { $_ } @stored);
} else {
    $m->set($_, $values{$_}) for keys %values;
}
my $found = $m->get_multi(keys %values, 'nothing');
check('get_multi', 300 == keys %$found && !grep { $found->{$_} ne $values{$_} } keys %values);

if ($is_fast) {
    $m->set('c', 'one');
    my $got = $m->gets('c');
    check('gets and cas', same($got->[1], 'one') && $m->cas('c', $got->[0], 'two')
                          && !$m->cas('c', $got->[0], 'three') && same($m->get('c'), 'two'));
    check('touch', $m->touch('c', 100) && !$m->touch('nothing', 100));
    check('gat', !$m->can('gat') || same($m->gat(100, 'c'), 'two'));
    my $versions = $m->server_versions;
    check('version', same($versions->{$address}, '1.6.45'));
    check('noreply', do { $m->set('q', '1'); $m->append('q', '2'); $m->nowait_push; 1 }
                     && same($m->get('q'), '12'));
    check('flush_all', $m->flush_all->{$address} && !defined $m->get('c'));
    check('a long key in a namespace', $m->set('x' x 200, '1') && same($m->get('x' x 200), '1'));
} else {
    my $stats = $m->stats(['misc']);
    check('stats', $stats->{hosts}{$address}{misc}{version} eq '1.6.45');
    check('flush_all', $m->flush_all && !defined $m->get('key1'));
}
$m->disconnect_all;
check('after a disconnect', $m->set('a', '1') && same($m->get('a'), '1'));
exit $failed;
