# An SMSC on Net::SMPP: says every PDU as a line of JSON, answers, and sends on command. The lines are
# those of smsc.js.
#
#   perl smsc.pl PORT
use strict;
use warnings;

use Encode qw(decode);
use IO::Select;
use JSON::PP;
use Net::SMPP;

my $json = JSON::PP->new->utf8->canonical;
$| = 1;
# The end of a connection is no trouble.
$SIG{__WARN__} = sub { print STDERR @_ unless $_[0] =~ /^premature eof/ };
sub say_line { print $json->encode({@_}), "\n" }

my %bind = (Net::SMPP::CMD_bind_receiver, 'bind_receiver', Net::SMPP::CMD_bind_transmitter,
    'bind_transmitter', Net::SMPP::CMD_bind_transceiver, 'bind_transceiver');
# Message id → the submit that it was given to, for receipts; sequence number → what was sent.
my (%taken, %sent, %bound);
my $last = 9_000_000_000;

my $listen = Net::SMPP->new_listen('127.0.0.1', port => $ARGV[0]) or die "listen: $!";
my $wait = IO::Select->new($listen, \*STDIN);
say_line(event => 'listening', port => $listen->sockport + 0);

sub number { map { $_ + 0 } @_ }

sub submitted {
    my ($session, $pdu) = @_;
    my $id = ++$last;
    $taken{$id} = $pdu;
    $session->submit_sm_resp(seq => $pdu->{seq}, message_id => "$id");
    my $octets = $pdu->{short_message};
    my $header = $pdu->{esm_class} & 0x40 ? substr($octets, 0, 1 + ord $octets) : '';
    my $text = substr $octets, length $header;
    # Every TLV under its number.
    my %tlvs = map { sprintf('%04x', $_) => unpack('H*', $pdu->{$_}) } grep { /^\d+$/ } keys %$pdu;
    say_line(
        event => 'submit_sm', id => "$id", octets => unpack('H*', $octets),
        message => decode($pdu->{data_coding} == 8 ? 'UTF-16BE' : 'gsm0338', $text),
        udh => $header eq '' ? [] : [unpack 'H*', substr $header, 1],
        source => [number(@$pdu{qw(source_addr_ton source_addr_npi)}), $pdu->{source_addr}],
        dest => [number(@$pdu{qw(dest_addr_ton dest_addr_npi)}), $pdu->{destination_addr}],
        data_coding => $pdu->{data_coding} + 0, esm_class => $pdu->{esm_class} + 0,
        registered_delivery => $pdu->{registered_delivery} + 0, tlvs => \%tlvs);
}

sub heard {
    my ($session) = @_;
    my $pdu = $session->read_pdu;
    if (!$pdu) {
        $wait->remove($session);
        delete $bound{$session};
        close $session;
        return say_line(event => 'close');
    }
    my $cmd = $pdu->{cmd};
    if (my $name = $bind{$cmd}) {
        my $ok = $pdu->{system_id} eq 'main' && $pdu->{password} eq 'secret';
        say_line(event => 'bind', command => $name, ok => $ok ? JSON::PP::true : JSON::PP::false,
            system_id => $pdu->{system_id}, interface_version => $pdu->{interface_version} + 0);
        my $answer = "${name}_resp";
        $session->$answer(seq => $pdu->{seq}, system_id => 'Net::SMPP', status => $ok ? 0 : 0x0E);
        # A transmitter cannot be delivered to.
        $bound{$session} = $session if $ok && $name ne 'bind_transmitter';
    } elsif ($cmd == Net::SMPP::CMD_submit_sm) {
        submitted($session, $pdu);
    } elsif ($cmd == Net::SMPP::CMD_enquire_link) {
        say_line(event => 'enquire_link');
        $session->enquire_link_resp(seq => $pdu->{seq});
    } elsif ($cmd == Net::SMPP::CMD_unbind) {
        say_line(event => 'unbind');
        $session->unbind_resp(seq => $pdu->{seq});
    } elsif (my $what = delete $sent{$pdu->{seq}}) {
        say_line(%$what, status => $pdu->{status} + 0);
    } else {
        say_line(event => 'error', error => sprintf 'command 0x%08x', $cmd);
    }
}

sub deliver {
    my ($what, %fields) = @_;
    my ($session) = values %bound or return say_line(%$what, status => 'no bind');
    my $seq = $session->deliver_sm(async => 1, source_addr_ton => 1, source_addr_npi => 1,
        dest_addr_ton => 1, dest_addr_npi => 1, %fields);
    $sent{$seq} = $what;
}

sub command {
    my ($line) = @_;
    my $command = $json->decode($line);
    if (my $receipt = $command->{receipt}) {
        my ($id, $submit) = ($receipt->{id}, $taken{$receipt->{id}});
        deliver({event => 'receipt_answered', id => $id},
            source_addr => $submit->{destination_addr}, destination_addr => $submit->{source_addr},
            esm_class => 4,
            short_message => "id:$id sub:001 dlvrd:001 submit date:2611211200 "
                . "done date:2611211201 stat:$receipt->{stat} err:000 text:");
    } elsif (my $mo = $command->{mo}) {
        deliver({event => 'mo_answered', source => $mo->{source}}, source_addr => $mo->{source},
            destination_addr => $mo->{dest}, data_coding => $mo->{data_coding} // 0,
            esm_class => $mo->{esm_class} // 0, short_message => pack 'H*', $mo->{octets});
    } elsif ($command->{enquire_link}) {
        my ($session) = values %bound;
        $sent{$session->enquire_link(async => 1)} = {event => 'enquire_link_answered'};
    } elsif ($command->{unbind}) {
        my ($session) = values %bound;
        $sent{$session->unbind(async => 1)} = {event => 'unbound'};
    }
}

my $commands = '';
while (1) {
    for my $ready ($wait->can_read) {
        if ($ready == $listen) {
            $wait->add(scalar $listen->accept);
        } elsif ($ready == \*STDIN) {
            sysread(STDIN, $commands, 65536, length $commands) or exit 0;
            command($1) while $commands =~ s/^(.*)\n//;
        } else {
            heard($ready);
        }
    }
}
