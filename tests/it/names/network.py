"""A network of its own: name servers and merchants on loopback addresses of a namespace.

zone.json says what the name servers know, merchants.json what the merchants answer; both are read again for
each question, so that a test can change them. Each merchant's requests are lines in requests.log.
"""
import asyncio
import json
import socket
import struct
import sys
import time

A, AAAA = 1, 28


def read(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def question(packet):
    """The name and kind that are asked for, and the question as it stands."""
    labels, at = [], 12
    while packet[at]:
        length = packet[at]
        labels.append(packet[at + 1 : at + 1 + length].decode())
        at += length + 1
    (kind,) = struct.unpack("!H", packet[at + 1 : at + 3])
    return ".".join(labels).lower(), kind, packet[12 : at + 5]


def answer(packet, asked, records, ttl, code):
    records = b"".join(
        b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, ttl, len(data)) + data for kind, data in records
    )
    count = 1 if records else 0
    return packet[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, count, 0, 0) + asked + records


class NameServer(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, packet, peer):
        asyncio.get_running_loop().create_task(self.reply(packet, peer))

    async def reply(self, packet, peer):
        name, kind, asked = question(packet)
        zone = read("zone.json")
        labels = name.split(".")
        # The name itself, or the longest domain above it that has an entry.
        parents = (".".join(labels[at:]) for at in range(len(labels)))
        entry = next((zone[parent] for parent in parents if parent in zone), {"code": 3})
        if entry.get("silent") or (kind == AAAA and entry.get("drops_aaaa")):
            return
        await asyncio.sleep(entry.get("delay", 0))
        records = []
        if kind == A and "a" in entry:
            records = [(A, socket.inet_aton(entry["a"]))]
        if kind == AAAA and "aaaa" in entry:
            records = [(AAAA, socket.inet_pton(socket.AF_INET6, entry["aaaa"]))]
        self.transport.sendto(
            answer(packet, asked, records, entry.get("ttl", 60), entry.get("code", 0)), peer
        )


class Silent(asyncio.DatagramProtocol):
    """A name server that is dead: not even a refusal comes back."""


async def serve(address, reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.decode().split("\r\n")
            length = next(
                int(line.split(":")[1]) for line in lines if line.lower().startswith("content-length")
            )
            await reader.readexactly(length)
            status = read("merchants.json").get(address, 200)
            with open("requests.log", "a", encoding="utf-8") as log:
                log.write(f"{time.time():.3f} {address} {status} {lines[0].split()[1]}\n")
            body = b'{"transResult":"SUCCESS"}'
            writer.write(
                f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
            )
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def refuse_credentials(reader, writer):
    """A proxy that wants others than ours."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
    await writer.drain()
    writer.close()


async def refuse_by_socks(reader, writer):
    """A SOCKS proxy whose rules allow nothing."""
    await reader.readexactly(3)
    writer.write(b"\x05\x00")
    await reader.read(512)
    writer.write(b"\x05\x02\x00\x01\x00\x00\x00\x00\x00\x00")
    await writer.drain()
    writer.close()


async def say_nothing(reader, writer):
    """A proxy that takes connections, and nothing else."""
    while await reader.read(512):
        pass
    writer.close()


async def main():
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(NameServer, local_addr=("127.0.0.53", 53))
    await loop.create_datagram_endpoint(Silent, local_addr=("127.0.0.54", 53))
    for address in ("127.0.0.10", "127.0.0.11"):
        await asyncio.start_server(
            lambda reader, writer, address=address: serve(address, reader, writer), address, 8080
        )
    await asyncio.start_server(refuse_credentials, "127.0.0.20", 3128)
    await asyncio.start_server(refuse_by_socks, "127.0.0.21", 1080)
    await asyncio.start_server(say_nothing, "127.0.0.22", 3128)
    print("the network stands", flush=True)
    await asyncio.Event().wait()


sys.exit(asyncio.run(main()))
