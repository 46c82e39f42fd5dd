"""The genes of the synthetic section: one table that states every curve, and the expression it implies.

The table is the ground truth: a reader can check any prediction against `expected_cp10k`. Levels are
invented; only the direction of each marker (which zone or which structure) follows the liver literature.
Symbols are real. Ensembl ids are real for the few markers in `_ENSEMBL`; every other gene carries a made-up
id that begins with ``PHANTOM``, so that it cannot pass for one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from bleep_cli.types import F32, F64, Str

TARGET_SUM = 10_000.0
"""Expression is stated as log1p of counts per this many."""

INFORMATIVE_SUM = 5_000.0
"""What the informative genes hold together, everywhere: so the others have no spatial pattern at all."""

Shape = Literal["flat", "central", "portal", "mid"]


@dataclass(frozen=True)
class Gene:
    """One gene's curve."""

    symbol: str
    """A real symbol."""
    level: float
    """Counts per 10,000 in pure parenchyma where its zone is."""
    shape: Shape = "flat"
    """Over the zonation coordinate z (0 portal, 1 central)."""
    power: float = 1.0
    """Its steepness."""
    floor: float = 0.0
    """The fraction of ``level`` that it falls to."""
    also: tuple[tuple[str, float], ...] = ()
    """(name, level) in other compartments."""
    dispersion: float = 12.0
    """r of the negative binomial, variance = mean + mean² / r."""
    informative: bool = True
    """Whether it has a spatial pattern."""

    @property
    def id(self) -> str:
        """Ensembl id where it is known for certain, else ``PHANTOM-<symbol>``."""
        return _ENSEMBL.get(self.symbol, f"PHANTOM-{self.symbol}")

    def zonation(self, z: F64) -> F64:
        """The curve's value in [floor, 1] at z f64[n]."""
        ramp: F64 = {
            "flat": np.ones_like(z),
            "central": z**self.power,
            "portal": (1 - z) ** self.power,
            "mid": np.exp(-(((z - 0.5) / 0.17) ** 2) * self.power),
        }[self.shape]
        return self.floor + (1 - self.floor) * ramp


_ENSEMBL = {
    "ACTA2": "ENSG00000107796",
    "ACTB": "ENSG00000075624",
    "ALB": "ENSG00000163631",
    "ANXA4": "ENSG00000196975",
    "ASS1": "ENSG00000130707",
    "COL1A1": "ENSG00000108821",
    "CYP1A2": "ENSG00000140505",
    "CYP2E1": "ENSG00000130649",
    "CYP3A4": "ENSG00000160868",
    "DCN": "ENSG00000011465",
    "EPCAM": "ENSG00000119888",
    "FABP1": "ENSG00000163586",
    "GLUL": "ENSG00000135821",
    "HAL": "ENSG00000084110",
    "HAMP": "ENSG00000105697",
    "KRT19": "ENSG00000171345",
    "KRT7": "ENSG00000135480",
    "PCK1": "ENSG00000124253",
    "PECAM1": "ENSG00000261371",
    "PLIN2": "ENSG00000147872",
    "SDS": "ENSG00000135094",
    "SOX9": "ENSG00000125398",
    "VIM": "ENSG00000026025",
    "VWF": "ENSG00000110799",
}


def _zoned(shape: Shape, power: float, floor: float, levels: str) -> tuple[Gene, ...]:
    return tuple(Gene(s, float(v), shape, power, floor) for s, _, v in (w.partition(":") for w in levels.split()))


def _structure(name: str, elsewhere: float, levels: str) -> tuple[Gene, ...]:
    pairs = (w.partition(":") for w in levels.split())
    return tuple(Gene(s, float(v) * elsewhere, also=((name, float(v)),)) for s, _, v in pairs)


_CENTRAL = (
    *_zoned("central", 1.4, 0.04, "CYP3A4:150 CYP2E1:260 CYP1A2:70 ADH1B:150 CYP2C8:60 CYP2C9:70 AOX1:30"),
    *_zoned("central", 2.2, 0.03, "SLCO1B3:34 CYP2A6:80 NR1I3:14 SLC22A1:26 RHBG:9 AKR1D1:22 AKR1C1:45 BCHE:14"),
    *_zoned("central", 7.0, 0.02, "GLUL:120 LGR5:8 TBX3:6 OAT:40 SLC1A2:14"),
)
_PORTAL = (
    *_zoned("portal", 1.2, 0.30, "ALB:900 FABP1:320 APOA1:330 SERPINA1:300 TTR:200 HP:240 FGB:150 APOC3:160"),
    *_zoned("portal", 1.6, 0.04, "HAL:55 ASS1:130 PCK1:90 SDS:75 CPS1:120 ARG1:80 HSD17B13:40 A2M:60 GLS2:22"),
    *_zoned("portal", 3.0, 0.03, "CYP2F1:7 SLC7A2:30 CDH1:12 AQP9:16 GLDC:12 ALDOB:150 NAMPT:20 ETNPPL:14"),
)
_MID = _zoned("mid", 1.0, 0.10, "HAMP:130 IGFBP2:30 CYP8B1:22 TFR2:22")
_DUCT = _structure(
    "duct",
    0.002,
    "SOX9:150 KRT7:320 KRT19:240 ANXA4:380 EPCAM:130 TACSTD2:110 CLDN4:100 SPP1:320 CFTR:45 KRT18:160",
)
_TRACT = _structure(
    "tract",
    0.004,
    "DCN:220 COL1A1:330 COL3A1:300 COL1A2:240 LUM:110 IGKC:260 CCL21:60 TIMP1:130 VIM:240 FBLN1:50",
)
_WALL = (
    Gene("ACTA2", 1.2, also=(("wall", 420.0), ("tract", 90.0))),
    Gene("TAGLN", 1.0, also=(("wall", 380.0), ("tract", 90.0))),
    Gene("MYH11", 0.3, also=(("wall", 160.0), ("tract", 20.0))),
    Gene("MGP", 0.6, also=(("wall", 190.0), ("tract", 140.0))),
    Gene("BGN", 0.6, also=(("wall", 120.0), ("tract", 110.0))),
    Gene("ELN", 0.2, also=(("wall", 90.0), ("tract", 40.0))),
)
_VESSEL = (
    Gene("VWF", 0.5, also=(("vessel", 420.0), ("wall", 50.0), ("tract", 12.0))),
    Gene("PECAM1", 0.9, also=(("vessel", 260.0), ("tract", 14.0))),
    Gene("AQP1", 0.9, also=(("vessel", 300.0), ("tract", 30.0), ("duct", 60.0))),
    Gene("CD34", 0.2, also=(("vessel", 150.0), ("tract", 14.0))),
    Gene("HBB", 4.0, also=(("lumen", 900.0),)),
)
_FAT = _structure("fat", 0.02, "PLIN2:260 CIDEC:110 PLIN4:70 G0S2:130 PLIN1:60 CIDEA:30 MOGAT1:40")

_RIBOSOMAL = """
RPL3 RPL4 RPL5 RPL6 RPL7 RPL8 RPL9 RPL10 RPL11 RPL12 RPL13 RPL14 RPL15 RPL17 RPL18 RPL19 RPL21 RPL22
RPL23 RPL24 RPL26 RPL27 RPL28 RPL29 RPL30 RPL31 RPL32 RPL34 RPL35 RPL36 RPL37 RPL38 RPL39 RPL41
RPLP0 RPLP1 RPLP2 RPS2 RPS3 RPS4X RPS5 RPS6 RPS7 RPS8 RPS9 RPS10 RPS11 RPS12 RPS13 RPS14 RPS15 RPS16
RPS17 RPS18 RPS19 RPS20 RPS21 RPS23 RPS24 RPS25 RPS26 RPS27 RPS28 RPS29 RPSA FAU
"""
_MITOCHONDRIAL = """
MT-ND1 MT-ND2 MT-ND3 MT-ND4 MT-ND4L MT-ND5 MT-ND6 MT-CO1 MT-CO2 MT-CO3 MT-ATP6 MT-ATP8 MT-CYB
"""
_HOUSEKEEPING = """
ACTB ACTG1 GAPDH B2M EEF1A1 EEF2 TPT1 UBC UBB UBA52 HSP90AB1 HSP90AA1 HSPA8 HSPA5 PPIA PPIB TUBB
TUBA1B PGK1 LDHA ENO1 PKM TPI1 GPI ALDOA MDH1 MDH2 SDHA SDHB ATP5F1A ATP5F1B ATP5MC1 ATP5MC2 ATP5PF
COX4I1 COX5A COX5B COX6A1 COX6B1 COX6C COX7A2 COX7B COX7C COX8A NDUFA1 NDUFA2 NDUFA4 NDUFB1 NDUFB2
NDUFB4 NDUFS5 UQCRB UQCRH UQCRQ CYC1 CYCS PSMA1 PSMA2 PSMA3 PSMA4 PSMA6 PSMA7 PSMB1 PSMB2 PSMB3
PSMB4 PSMB6 PSMC1 PSMC2 PSMC3 PSMD2 PSMD4 PSMD8 EIF1 EIF3E EIF3F EIF3H EIF3K EIF4A1 EIF4A2 EIF4G2
EIF5A HNRNPA1 HNRNPA2B1 HNRNPC HNRNPK HNRNPU SRSF2 SRSF3 SRSF5 SF3B1 SF3B2 SNRPD2 SNRPG SNRPB POLR2A
POLR2E POLR2L TBP HPRT1 GUSB TFRC YWHAZ YWHAB YWHAE YWHAQ SDHC SDHD RAB1A RAB7A RAB11A ARF1 ARF4
ARF5 CFL1 PFN1 TMSB10 MYL6 MYL12B CALM1 CALM2 CALM3 CANX CALR PDIA3 PDIA6 P4HB SEC61B SEC61G SSR2
SSR4 SPCS1 SPCS2 OST4 DAD1 TMED2 TMED10 SERF2 SUMO2 NACA BTF3 BSG CD63 CD81 CD9 LAMP1 LAMP2 CTSB
CTSD PSAP FTL FTH1 GPX4 PRDX1 PRDX2 PRDX5 SOD1 TXN PARK7 MALAT1 NEAT1
"""


def genes() -> tuple[Gene, ...]:
    """Every gene of the phantom, the informative ones first; the same table for every seed and donor."""
    informative = (*_CENTRAL, *_PORTAL, *_MID, *_DUCT, *_TRACT, *_WALL, *_VESSEL, *_FAT)
    flat = (*_MITOCHONDRIAL.split(), *_RIBOSOMAL.split(), *_HOUSEKEEPING.split())
    level = 1 / (np.arange(len(flat)) * 7 % len(flat) + 4.0)  # a long tail, the ranks shuffled
    level[: len(_MITOCHONDRIAL.split())] *= 1.5
    level *= (TARGET_SUM - INFORMATIVE_SUM) / level.sum()
    rest = tuple(
        Gene(s, float(v), dispersion=5.0 + 5 * (i % 5), informative=False)
        for i, (s, v) in enumerate(zip(flat, level, strict=True))
    )
    return informative + rest


def informative_symbols() -> Str:
    """Symbols of the genes with a spatial pattern, str[g]."""
    return np.array([g.symbol for g in genes() if g.informative])


def donor_factors(rng: np.random.Generator) -> F64:
    """A donor's own factor for every gene, f64[genes]: lognormal, 10 % (uninformative genes 20 %)."""
    table = genes()
    spread = np.array([0.10 if g.informative else 0.20 for g in table])
    factors: F64 = np.exp(rng.normal(0, 1, len(table)) * spread)
    return factors


def expected_cp10k(z: F32, area: dict[str, F32], factors: F64) -> F64:
    """Noise-free counts per 10,000 f64[n, genes], rows summing to 10,000, in the order of `genes`.

    ``z`` f32[n] mean zonation of the hepatocytes in the spot's disc, ``area`` f32[n] per compartment, the
    fractions of the disc; ``factors`` of the donor. A disc without tissue counts as pure parenchyma.
    """
    table, at = genes(), np.clip(z.astype(np.float64), 0, 1)
    area = {name: a.astype(np.float64) for name, a in area.items()}
    bare = sum(area.values()) < 1e-3
    ambient = 0.1 * area["lumen"]  # RNA that leaks into the empty veins
    parenchyma = np.where(bare, 1.0, area["hepatocyte"] + ambient)
    rates = np.empty((len(z), len(table)))
    for column, gene in enumerate(table):
        rate = parenchyma * gene.level * gene.zonation(at) if gene.informative else np.full(len(z), gene.level)
        for name, level in gene.also:
            rate = rate + area[name] * level
        rates[:, column] = rate
    rates *= factors
    told = np.array([g.informative for g in table])
    rates[:, told] *= INFORMATIVE_SUM / np.maximum(rates[:, told].sum(axis=1, keepdims=True), 1e-9)
    rates[:, ~told] *= (TARGET_SUM - INFORMATIVE_SUM) / rates[:, ~told].sum(axis=1, keepdims=True)
    return rates
