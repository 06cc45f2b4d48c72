# An SMSC on smpp.twisted3: says every PDU as a line of JSON, answers, and sends on command. The lines
# are those of smsc.js.
#
#   python smsc.py PORT
import json
import logging
import sys
from io import BytesIO

import gsmcodecs  # registers Python's codecs of the GSM alphabet
from smpp.pdu.operations import DeliverSM, EnquireLink
from smpp.pdu.pdu_types import (
    AddrNpi, AddrTon, CommandStatus, EsmClass, EsmClassMode, EsmClassType,
)
from smpp.pdu.pdu_encoding import (
    AddrNpiEncoder, AddrTonEncoder, DataCodingEncoder, EsmClassEncoder, RegisteredDeliveryEncoder,
)
from smpp.twisted.config import SMPPServerConfig
from smpp.twisted.protocol import DataHandlerResponse, SMPPServerProtocol
from smpp.twisted.server import SMPPServerFactory
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import IRealm, Portal
from twisted.internet import reactor, stdio
from twisted.protocols.basic import LineReceiver
from zope.interface import implementer

# What it has to tell it says as lines.
logging.disable(logging.CRITICAL)

ACCOUNT = ('main', 'secret')


def say(**line):
    sys.stdout.write(json.dumps(line) + '\n')
    sys.stdout.flush()


def number(encoder, value):
    """The octet that a decoded field was on the wire."""
    return encoder.encode(value)[0]


def text(octets, data_coding):
    """Python's own reading; the GSM alphabet is gsmcodecs'."""
    return octets.decode('utf-16-be' if data_coding == 8 else 'gsm23.038')


def address(params, side, addr):
    return [number(AddrTonEncoder(), params[side + '_addr_ton']),
            number(AddrNpiEncoder(), params[side + '_addr_npi']), params[addr].decode()]


class Protocol(SMPPServerProtocol):
    def PDUReceived(self, pdu):
        if isinstance(pdu, EnquireLink):
            say(event='enquire_link')
        elif pdu.id.name == 'unbind':
            say(event='unbind')
        SMPPServerProtocol.PDUReceived(self, pdu)

    def rawMessageReceived(self, message):
        self.raw = message
        SMPPServerProtocol.rawMessageReceived(self, message)

    def corruptDataRecvd(self, *args, **kwargs):
        say(event='error', error='a PDU that smpp.twisted3 cannot parse', octets=self.raw.hex())
        SMPPServerProtocol.corruptDataRecvd(self, *args, **kwargs)

    def doBindRequest(self, request, state):
        name, password = request.params['system_id'], request.params['password']
        ok = (name.decode(), password.decode()) == ACCOUNT
        say(event='bind', command=request.id.name, ok=ok, system_id=name.decode(),
            interface_version=request.params['interface_version'])
        return SMPPServerProtocol.doBindRequest(self, request, state)

    def connectionLost(self, reason):
        try:
            SMPPServerProtocol.connectionLost(self, reason)
        finally:
            say(event='close')


taken = {}
last = [8000000000]


def submitted(system_id, smpp, pdu):
    params = pdu.params
    last[0] += 1
    message_id = str(last[0])
    taken[message_id] = params
    octets = params['short_message']
    esm_class = number(EsmClassEncoder(), params['esm_class'])
    data_coding = number(DataCodingEncoder(), params['data_coding'])
    header = octets[:octets[0] + 1] if esm_class & 0x40 else b''
    say(event='submit_sm', id=message_id, octets=octets.hex(),
        message=text(octets[len(header):], data_coding),
        udh=[header[1:].hex()] if header else [],
        source=address(params, 'source', 'source_addr'),
        dest=address(params, 'dest', 'destination_addr'),
        data_coding=data_coding, esm_class=esm_class,
        registered_delivery=number(RegisteredDeliveryEncoder(), params['registered_delivery']))
    return DataHandlerResponse(status=CommandStatus.ESME_ROK, message_id=message_id.encode())


@implementer(IRealm)
class Realm:
    def requestAvatar(self, avatar, mind, *interfaces):
        return interfaces[0], avatar, lambda: None


@implementer(ICredentialsChecker)
class Checker:
    credentialInterfaces = (IUsernamePassword,)

    def requestAvatarId(self, credentials):
        if (credentials.username, credentials.password) != ACCOUNT:
            raise UnauthorizedLogin()
        return credentials.username


def main(port):
    portal = Portal(Realm(), [Checker()])
    config = SMPPServerConfig(msgHandler=submitted, systems={ACCOUNT[0]: {'max_bindings': 16}})
    factory = SMPPServerFactory(config, auth_portal=portal)
    factory.protocol = Protocol

    def session():
        binds = factory.getBoundConnections(ACCOUNT[0])
        return binds and binds.getNextBindingForDelivery()

    def deliver(what, said, **fields):
        link = session()
        if link is None:
            return say(event=what + '_failed', **said)
        request = DeliverSM(
            source_addr_ton=AddrTon.INTERNATIONAL, source_addr_npi=AddrNpi.ISDN,
            dest_addr_ton=AddrTon.INTERNATIONAL, dest_addr_npi=AddrNpi.ISDN, **fields)
        answered = link.sendDataRequest(request)
        answered.addCallback(lambda result: say(event=what + '_answered', status=0, **said))
        answered.addErrback(lambda failure: say(event=what + '_answered', status=str(failure.value), **said))

    def receipt(id, stat):
        submit = taken[id]
        words = (f'id:{id} sub:001 dlvrd:001 submit date:2611211200 done date:2611211201 '
                 f'stat:{stat} err:000 text:')
        deliver('receipt', {'id': id}, source_addr=submit['destination_addr'],
                destination_addr=submit['source_addr'],
                esm_class=EsmClass(EsmClassMode.DEFAULT, EsmClassType.SMSC_DELIVERY_RECEIPT),
                short_message=words.encode())

    def mo(source, dest, octets, data_coding=0, esm_class=0):
        deliver('mo', {'source': source}, source_addr=source.encode(),
                destination_addr=dest.encode(),
                esm_class=EsmClassEncoder().decode(BytesIO(bytes([esm_class]))),
                data_coding=DataCodingEncoder().decode(BytesIO(bytes([data_coding]))),
                short_message=bytes.fromhex(octets))

    class Commands(LineReceiver):
        delimiter = b'\n'
        MAX_LENGTH = 1 << 20

        def lineReceived(self, line):
            command = json.loads(line)
            if 'receipt' in command:
                receipt(**command['receipt'])
            elif 'mo' in command:
                mo(**command['mo'])
            elif 'enquire_link' in command:
                answered = session().sendRequest(EnquireLink(), 10)
                answered.addCallback(lambda result: say(event='enquire_link_answered', status=0))
            elif 'unbind' in command:
                session().unbindAndDisconnect().addBoth(lambda result: say(event='unbound'))

        def connectionLost(self, reason):
            reactor.stop()

    listening = reactor.listenTCP(port, factory, interface='127.0.0.1')
    stdio.StandardIO(Commands())
    say(event='listening', port=listening.getHost().port)
    reactor.run()


main(int(sys.argv[1]))
