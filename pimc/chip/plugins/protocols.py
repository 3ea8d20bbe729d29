"""The four kinds of terms that a laboratory can add to the physics of a chip.

A term is a frozen dataclass, found by an entry point ``KIND.NAME`` of the group ``pimc.physics``.
Its fields are the keys of the chip file's table ``[physics.KIND.NAME]``, each described with
:func:`pimc.files.strict.setting` or :func:`~pimc.files.strict.key`, and held to that like any
other table. The first line of its docstring is what users read. Its methods must do nothing but
calculate: arrays come in and go out, random numbers are given. ``docs/physics.md`` has an example.

A class may leave out the attributes, which then have the values given here, but no method, save
that a :class:`ConverterTerm` may have only one of its two.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pimc.chip.plugins.foreign import Array64

__all__ = ["CellTerm", "ConverterTerm", "Floats", "ReadTerm", "TimeTerm"]

Floats = npt.NDArray[np.floating[Any]]


class CellTerm(Protocol):
    """What a written cell holds, beside the programming error and the variation.

    The compiler looks at it: ``sigma_us`` is part of the spread that it reckons with.
    """

    @property
    def draws(self) -> int:
        """Standard normal draws that one write takes; 1 where the class does not say."""
        ...

    def sigma_us(self, target_us: Array64) -> Array64:
        """Standard deviation in µS, 0 or more, that the term adds to cells of these targets."""
        ...

    def sample(self, held_us: Array64, target_us: Array64, normals: Array64) -> Array64:
        """Conductances in µS with the term; what would be below 0 is cut by the die.

        Args:
            held_us: what the cells hold without it, any shape; the result has the same.
            target_us: what they were asked to hold.
            normals: (draws, *shape) standard normal draws, others for every cell and write.
        """
        ...


class TimeTerm(Protocol):
    """What time does to a written cell, beside the chip's ``[retention]``."""

    @property
    def draws(self) -> int:
        """Standard normal draws that one write takes; 1 where the class does not say."""
        ...

    def aged_us(
        self, held_us: Array64, target_us: Array64, age_s: Array64, normals: Array64
    ) -> Array64:
        """Conductances in µS some time after the write; what would be below 0 is cut by the die.

        Args:
            held_us: what the cells would hold without the term, (cells,); the result has the same
                shape.
            target_us: what they were asked to hold.
            age_s: seconds since they were written, above 0.
            normals: (draws, cells) standard normal draws, the same at every age.
        """
        ...


class ReadTerm(Protocol):
    """Noise of a read: Gaussian, redrawn at every read, independent from cell to cell.

    A cell at the share v of the full read voltage adds |v|^power · variance to the variance of
    its column's current.
    """

    @property
    def power(self) -> int:
        """How the variance goes with the voltage; 2 where the class does not say.

        2 where the conductance fluctuates, 1 where the noise is that of the current, as shot noise
        is, 0 where it is there without any voltage, as thermal noise is. Reads with another power
        than 2 take the slower path.
        """
        ...

    def variance_us2(self, held_us: Floats, age_s: Floats) -> Floats:
        """Variance of a read at full voltage in µS², 0 or more.

        Args:
            held_us: what the cells conduct now, any shape; the result has the same.
            age_s: seconds since they were written, of the same shape.
        """
        ...


class ConverterTerm(Protocol):
    """Error of the converters, beside gain and offset of the ADCs.

    Every number goes through on its own: a method is given arrays of any shape and returns one of
    the shape of its first argument, against which the others broadcast. Reads with such a term
    take the slower path. An array has an ADC for every bitline and a DAC for every wordline.
    """

    @property
    def fixed(self) -> int:
        """Standard normal draws that belong to a converter for good; 0 if not stated."""
        ...

    @property
    def draws(self) -> int:
        """Standard normal draws that every single conversion takes; 0 if not stated."""
        ...

    def dac(self, codes: Floats, full_scale: float, fixed: Floats, normals: Floats) -> Floats:
        """What wordlines really get, in codes.

        Args:
            codes: what they are to get in one read: −``full_scale`` to ``full_scale``; of a
                bit-serial input −1, 0 or 1.
            fixed: (``fixed``, …) draws of the converter.
            normals: (``draws``, …) draws of the conversion.
        """
        ...

    def adc(self, values: Floats, fixed: Floats, normals: Floats) -> Floats:
        """What is rounded to a code, and cut off at the ends of the range.

        Args:
            values: currents in codes, gain and offset of their column included.
            fixed: (``fixed``, …) draws of the converter.
            normals: (``draws``, …) draws of the conversion.
        """
        ...
