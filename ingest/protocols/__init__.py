"""Decoders: the bytes of a protocol become points. Pure: no sockets, no clock, no database."""
