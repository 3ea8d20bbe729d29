"""How the loops of the fused read are compiled."""

from __future__ import annotations

from pimc.work.jit import Compiler

#: Streams of random numbers have numbers that are compiled in.
READ = Compiler(__package__ or "", (("pimc.runtime.physics", "streams.py"),))

compiled, contracted = READ.compiled, READ.contracted
inner, inner_contracted, inlined = READ.inner, READ.inner_contracted, READ.inlined
