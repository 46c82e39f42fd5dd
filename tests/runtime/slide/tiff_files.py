"""Which of the TIFF files from public projects are read, and what is wrong with those that are refused.

The files are those of the shared test data: ``real`` and ``odd``; of ``malformed`` one alone is read.
"""

from __future__ import annotations

READ = """
CMU-1-Small-Region.svs instanseg_HE_example.tif openslide_boxes.tiff openslide_small.svs
imagetiff_images_bigtiff_BigTIFF.tif imagetiff_images_bigtiff_BigTIFFMotorola.tif
imagetiff_images_cmyk-4c-8b.tiff
imagetiff_images_minisblack-2c-8b-alpha.tiff imagetiff_images_quad-lzw-compat.tiff
imagetiff_images_rgb-3c-8b.tiff imagetiff_images_seq_seq-1c-8b-bigendian-20f3db0c.tiff
imagetiff_images_seq_seq-1c-8b-deflate-20f3db0c.tiff imagetiff_images_seq_seq-1c-8b-lzw-hpredict-20f3db0c.tiff
imagetiff_images_seq_seq-1c-8b-multistrip-20f3db0c.tiff imagetiff_images_seq_seq-1c-8b-palette-89b39bc3.tiff
imagetiff_images_seq_seq-1c-8b-tiled-bigtiff-20f3db0c.tiff
imagetiff_images_seq_seq-1c-8b-tiled-lzw-20f3db0c.tiff imagetiff_images_seq_seq-3c-16b-bigtiff-1b40ca6e.tiff
imagetiff_images_seq_seq-3c-8b-lzw-8743c999.tiff imagetiff_images_seq_seq-3c-8b-tiled-8743c999.tiff
imagetiff_images_seq_seq-4c-16b-rgba-5181991f.tiff imagetiff_images_seq_seq-4c-8b-rgba-50969cda.tiff
imagetiff_images_tiled-jpeg-rgb-u8.tif imagetiff_libtiffpic_cramps.tif
imagetiff_libtiffpic_depth_flower-minisblack-08.tif imagetiff_libtiffpic_depth_flower-rgb-contig-08.tif
imagetiff_libtiffpic_depth_flower-rgb-contig-16.tif imagetiff_libtiffpic_depth_flower-separated-contig-08.tif
imagetiff_libtiffpic_depth_flower-separated-planar-08.tif imagetiff_libtiffpic_jello.tif
imagetiff_libtiffpic_jim___cg.tif imagetiff_libtiffpic_jim___gg.tif imagetiff_libtiffpic_quad-jpeg.tif
imagetiff_libtiffpic_quad-tile.tif imagetiff_libtiffpic_strike.tif pillow_child_ifd.tiff pillow_hopper_lzma.tif
pillow_no_rows_per_strip.tif imagetiff_images_extra_bits_rgb_8b.tiff
pillow_hopper_webp.tif pillow_rdf.tif pillow_tiff_tiled_cmyk_jpeg.tif pillow_tiff_tiled_planar_16bit_RGBa.tiff
pillow_tiff_tiled_planar_raw.tif pillow_tiff_tiled_ycbcr_jpeg_2x2_sampling.tif
"""
"""Names of the files whose pixels are compared."""

TEN_BITS = """
imagetiff_images_seq_seq-3c-16b-bigtiff-1b40ca6e.tiff imagetiff_images_seq_seq-4c-16b-rgba-5181991f.tiff
"""
"""Those of them whose 16-bit samples reach no further than 10 bits do."""

MALFORMED_BUT_READ = "imagetiff_oor_panic_id_000026_sig_06_src_000012_op_havoc_rep_2.tif"

REFUSED = """
TIFF colour model 8:
    pillow_hopper.Lab.tif pillow_lab-green.tif
TIFF compression 3:
    imagetiff_images_seq_seq-1c-1b-fax3-71f6a21a.tiff imagetiff_images_seq_seq-1c-1b-fax3-lsb-71f6a21a.tiff
    imagetiff_libtiffpic_fax2d.tif
TIFF compression 34676:
    imagetiff_images_logluv-3c-16b.tiff imagetiff_libtiffpic_off_l16.tif imagetiff_libtiffpic_off_luv32.tif
TIFF compression 4:
    imagetiff_images_imagemagick_group4.tiff
TIFF compression 6:
    pillow_old-style-jpeg-compression.tif
YCbCr other than JPEG:
    imagetiff_libtiffpic_ycbcr-cat.tif
grey of 10 bits:
    imagetiff_images_seq_seq-1c-10b-hpredict-6d739fa2.tiff
grey of 12 bits:
    imagetiff_images_12bit.cropped.tiff imagetiff_images_seq_seq-1c-12b-47c39b31.tiff
    imagetiff_libtiffpic_depth_flower-minisblack-12.tif
grey of 14 bits:
    imagetiff_images_seq_seq-1c-14b-hpredict-e883657f.tiff
grey of 16 bits:
    imagetiff_images_issue_69_lzw.tiff imagetiff_images_seq_seq-1c-16b-bigendian-68f373a0.tiff
    imagetiff_images_seq_seq-1c-16b-lzw-68f373a0.tiff imagetiff_images_seq_seq-1c-16b-tiled-68f373a0.tiff
    imagetiff_libtiffpic_depth_flower-minisblack-16.tif
grey of 24 bits:
    imagetiff_images_seq_seq-1c-24b-072a9dc9.tiff
grey of 3 bits:
    imagetiff_images_minisblack-1c-3b.tiff imagetiff_images_seq_seq-1c-3b-ef237c07.tiff
grey of 32 bits:
    imagetiff_libtiffpic_depth_flower-minisblack-32.tif
grey of 4 bits:
    imagetiff_images_seq_seq-1c-4b-fb92dcae.tiff imagetiff_libtiffpic_depth_flower-minisblack-04.tif
grey of 7 bits:
    imagetiff_images_minisblack-1c-7b.tiff imagetiff_images_seq_seq-1c-7b-9c61ba70.tiff
inverted of 1 bits:
    imagetiff_images_miniswhite-1c-1b.tiff
inverted of 12 bits:
    imagetiff_images_seq_seq-1c-12b-miniswhite-47c39b31.tiff
inverted of 24 bits:
    imagetiff_images_seq_seq-1c-24b-miniswhite-072a9dc9.tiff
inverted of 5 bits:
    imagetiff_images_seq_seq-1c-5b-miniswhite-73098d17.tiff
inverted of 6 bits:
    imagetiff_images_miniswhite-1c-6b.tiff
palette of 1 bits:
    pillow_multipage-lastframe.tif pillow_multipage.tiff pillow_multipage_out_of_order.tiff
palette of 4 bits:
    imagetiff_images_palette-1c-4b.tiff imagetiff_images_seq_seq-1c-4b-palette-85108c5a.tiff
    imagetiff_libtiffpic_depth_flower-palette-04.tif
rgb of 10 bits:
    imagetiff_images_seq_seq-3c-10b-contig-d08d5dc0.tiff imagetiff_libtiffpic_depth_flower-rgb-planar-10.tif
rgb of 12 bits:
    imagetiff_images_seq_seq-3c-12b-contig-e6f40b4a.tiff imagetiff_libtiffpic_depth_flower-rgb-contig-12.tif
rgb of 14 bits:
    imagetiff_images_seq_seq-3c-14b-contig-f4dcc6cc.tiff imagetiff_libtiffpic_depth_flower-rgb-planar-14.tif
rgb of 2 bits:
    imagetiff_libtiffpic_depth_flower-rgb-contig-02.tif
rgb of 24 bits:
    imagetiff_images_seq_seq-3c-24b-planar-6296c0c9.tiff imagetiff_libtiffpic_depth_flower-rgb-planar-24.tif
rgb of 32 bits:
    imagetiff_libtiffpic_depth_flower-rgb-contig-32.tif
rgb of 4 bits:
    imagetiff_libtiffpic_depth_flower-rgb-planar-04.tif
rgb of 5 bits:
    imagetiff_images_seq_seq-3c-5b-contig-09f197f4.tiff
rgb of 64 bits:
    imagetiff_images_gradient-3c-64b.tiff
rgb of 7 bits:
    imagetiff_images_seq_seq-3c-7b-contig-2e4f43c5.tiff
signed or float cmyk of 32 bits:
    imagetiff_images_cmyk-3c-32b-float.tiff
signed or float grey of 16 bits:
    imagetiff_images_minisblack-1c-i16b.tiff imagetiff_images_random-fp16-pred2.tiff
    imagetiff_images_random-fp16.tiff imagetiff_images_single-black-fp16.tiff
    imagetiff_images_white-fp16-pred3.tiff
signed or float grey of 32 bits:
    imagetiff_images_gradient-1c-32b-float.tiff imagetiff_images_predictor-3-gray-f32.tif
    imagetiff_images_seq_seq-1c-32f-390fe673.tiff imagetiff_images_seq_seq-1c-i32-99fddec2.tiff
    pillow_16_bit_binary_pgm.tiff
signed or float grey of 64 bits:
    imagetiff_images_gradient-1c-64b-float.tiff imagetiff_images_seq_seq-1c-64f-deflate-fpredict-afa8560e.tiff
signed or float grey of 8 bits:
    imagetiff_images_int8.tif imagetiff_images_seq_seq-3c-i8-d7550ce4.tiff
    imagetiff_images_tiled-oversize-gray-i8.tif pillow_separate_planar_extra_samples.tiff
signed or float rgb of 16 bits:
    imagetiff_images_int16_rgb.tif
signed or float rgb of 32 bits:
    imagetiff_images_gradient-3c-32b-float.tiff
"""
"""What each refusal says, then the names of the files."""
