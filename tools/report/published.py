"""What others published of generative face codecs, read by eye off their plots: never measured here, drawn apart.

Source: result plots of github.com/Goluck-Konuko/GFVC, with the settings of its `config`.  VoxCeleb, 15 sequences of 250
frames at 256x256 and 25 frames a second; the rate is everything, key frame included, which VTM codes at QP 22 to 52.
Reading off a plot is right to about 2 % of the rate, 0.01 of a score.  Other clips, other crops: they say where such
codecs stand, not who is better than fev.
"""

from __future__ import annotations

from dataclasses import dataclass

SOURCE = "plots of github.com/Goluck-Konuko/GFVC, read by eye (about 2 % in rate, 0.01 in score)"
CLIPS = "VoxCeleb, 15 sequences of 250 frames, 256x256, 25 frames/s; key frame included"
MARK = "published, other clips, read off plots"
COLUMNS = {"lpips": "1 - LPIPS", "dists": "1 - DISTS", "psnr": "PSNR, dB"}


@dataclass(frozen=True)
class Reported:
    """kbps; then 1 - LPIPS, 1 - DISTS and PSNR in dB, None where no plot has it."""

    kbps: float
    lpips: float | None
    dists: float | None
    psnr: float | None


METHODS: dict[str, tuple[Reported, ...]] = {
    "DAC, 10 key points": (
        Reported(1.31, 0.557, 0.711, 21.5), Reported(1.62, 0.690, 0.801, 23.0), Reported(2.48, 0.759, 0.850, 23.3),
        Reported(4.9, 0.784, 0.871, 23.4),
    ),
    "DAC, 20 key points": (Reported(3.07, 0.768, 0.857, 23.9), Reported(5.5, 0.793, 0.877, None)),
    "DAC, 40 key points": (Reported(4.35, 0.770, None, None), Reported(6.76, 0.796, 0.876, 24.1)),
    "CFTE": (
        Reported(1.65, 0.515, 0.694, 20.5), Reported(1.95, 0.664, 0.795, 21.5), Reported(2.81, 0.732, 0.849, None),
        Reported(5.23, 0.755, 0.870, 21.5),
    ),
    "FV2V": (
        Reported(2.37, 0.513, None, None), Reported(3.52, 0.664, 0.832, 19.5), Reported(5.93, 0.677, 0.846, 19.5),
    ),
    "HDAC over VVC": (
        Reported(8.0, 0.740, None, None), Reported(13.5, 0.799, None, None), Reported(26.2, 0.836, 0.882, 27.5),
    ),
    "HDAC over HEVC": (Reported(9.6, 0.741, None, None), Reported(36.6, 0.836, 0.889, 27.5)),
    "VVC (VTM 22.2, low delay)": (
        Reported(4.6, 0.530, None, None), Reported(7.4, 0.657, None, None), Reported(15.2, 0.759, 0.841, 31.4),
        Reported(31.6, 0.834, 0.882, 34.8),
    ),
    "HEVC (HM, low delay)": (
        Reported(7.6, 0.547, None, None), Reported(15.9, 0.702, None, None), Reported(25.5, 0.764, 0.857, 32.0),
        Reported(53.0, 0.847, 0.903, 35.4),
    ),
}  # fmt: skip
