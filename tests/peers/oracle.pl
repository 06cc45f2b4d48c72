# Writes and reads the GSM default alphabet with Perl's Encode, one line for each line on stdin.
#
# "e:<UTF-8 in hex>" is answered with "<octets in hex>", "d:<octets in hex>" with "<UTF-8 in hex>"; both
# as JSON strings, which here are nothing but quotes around them. "-" is what Encode refuses.
use strict;
use warnings;
use Encode qw(encode decode FB_CROAK);

while (my $line = <STDIN>) {
    my ($what, $hex) = $line =~ /^"([ed]):([0-9a-f]*)"$/ or die "not a case: $line";
    my $octets = pack 'H*', $hex;
    my $answer = eval {
        $what eq 'e'
            ? encode('gsm0338', decode('UTF-8', $octets, FB_CROAK), FB_CROAK)
            : encode('UTF-8', decode('gsm0338', $octets, FB_CROAK), FB_CROAK);
    };
    print '"', defined $answer ? unpack('H*', $answer) : '-', "\"\n";
}
