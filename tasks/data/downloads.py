"""Published data sets that can be downloaded, and where the others are to be had.

Addresses, sizes and checksums are those that others have published; the comment above an entry says
who. No checksum is of our own making: where none is published, what arrived is printed.
"""

from bench.files.remote_files import Download, RemoteFile

HUGGING_FACE = "https://huggingface.co/datasets"
ETH = "https://data.vision.ee.ethz.ch/cvl/DIV2K"
YORK = "http://130.63.97.225/share"
KODAK = "https://r0k.us/graphics/kodak"
BERKELEY = "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping"
BERKELEY_TERMS = "non-commercial research and education"
BENCHMARK_TERMS = "research; no licence is stated"

# Bytes and SHA-256 of kodim01.png to kodim24.png: KODAK_SIZE_BYTES and KODAK_SHA256 of
# github.com/M0574F4/noema-lab.
KODAK_FILES = (
    (736501, "a56e27cbf5f843c048b6af1d6e090760e9c92fadba88b7dee0205918a37523bd"),
    (617995, "4f4b74a79237e311d72cad958237b5f7088d8bce1c82305ebefe1a70e3022dfd"),
    (502888, "e25ca1ff2f0c0cb5fdfd5f9b0a0bb21ac4c3de3c84a67f35b09a85d3306249db"),
    (637432, "e3b946107c5d3441c022f678d0c3caf1e224d81b1604ba840a4f88e562de61aa"),
    (785610, "10349e963c5c813d327852f82c1795fa4148d69fedffc4c589bee458e3ac3d53"),
    (618959, "363510303b715d4cbc384e1ce227e466b613a09e1b71ae985882bf8e7fbd9b18"),
    (566322, "b77d3f006f42414bb242222e0482e750c0fb9e5ee8d4bed2f6f11c5605fe54a4"),
    (788470, "ba23983c76b4832ee0e8af0592664756841a16779acd69f792e268fb6d13d6e7"),
    (582899, "6a4361c2fc194feb4edaa9f9a4a0620fb9943e460ac7fdf037fb0f6dd6607a7d"),
    (593463, "9dfb70f5867c29ff9ed6313683f19b3d867849e40fbc0c4c54a4a89df341cf23"),
    (621023, "7936814b58b5387fce2e4e2488b4ec830dadd95fa9520f358ddb30990b50f2b6"),
    (531024, "d78c37c2f04f23761ed2367dd77e2db584ddd4c3950833fecf89f199a8126980"),
    (822712, "bc34a3ce58dea09dce1704c997171602de90cb34d0c8503a988b77f473d39b08"),
    (692201, "55a94550ff18f3246c4074fd32b77b0c74447c26b6ad274d564d999c0450ba6e"),
    (612582, "7538cbb80cb9103606c48b806eae57d56c885c7f90b9b3be70a41160f9cbb683"),
    (534247, "a89c7268ccd4718ba424a99fc4643c572cf692ca6eae887185ceb4e9f11d2e54"),
    (602078, "37afcc89fbdcb76d9518e04b2fc011027e2f4cd14b3b2f83cefd721641a47c5b"),
    (780947, "1a9258c365988961d87a0598725b609139c303ad48a5aad6c503c3b1a87849aa"),
    (671476, "b7450b264b1b0a411390d8931b112c27905a992520fc90569dc4b920aa32bbdc"),
    (492462, "3b46c71e3b92a563820ba32936be8330c586c41f938efd94be938386aae4328a"),
    (637051, "ac958597c82073f6bb65129c68f72b651db5b9efd82e11547d07350214bc268b"),
    (701970, "1cee58eb1f2d9c7ebb254d208a03c783ce6cf2c4d8c2cf45e235dd23b4ce1b29"),
    (557596, "e3111a2fd4da24af15d6459ef9eacfe54106b38e27b4a21821b75c3f5d2d5baf"),
    (706397, "1071c68372cc5a01435c2c225a5cf7d4bb803846ec08bb6b3d6721b156d7cb96"),
)

# SHA-256: BSDS500_ARCHIVE_SHA256 of github.com/M0574F4/noema-lab, and the account of the benchmark
# of github.com/catid/SoftMenon. Bytes: DATA_SIZE of tensorpack/dataflow/dataset/bsds500.py.
BSDS500 = Download(
    name="BSDS500",
    content="500 photographs; train and test are trained on, val is tested on",
    terms=BERKELEY_TERMS,
    source=f"{BERKELEY}/resources.html",
    files=(
        RemoteFile(
            f"{BERKELEY}/BSR/BSR_bsds500.tgz",
            70_763_455,
            "sha256:97e49d31764f3912f0c4122707d53062ac9e783ba0f095e447a4d53c1a41af8e",
            inside="BSR/BSDS500/data/images",
            folder="images",
        ),
    ),
)

# The copy that deepinv.datasets.CBSD68 names; its page shows 19.7 MB and no checksum.
CBSD68 = Download(
    name="CBSD68",
    content="68 photographs of BSDS500's val, to test on",
    terms=BERKELEY_TERMS,
    source=f"{HUGGING_FACE}/deepinv/CBSD68",
    files=(
        RemoteFile(
            f"{HUGGING_FACE}/deepinv/CBSD68/resolve/main/CBSD68.tar.gz",
            19_700_000,
            inside="CBSD68/0",
        ),
    ),
)

KODAK24 = Download(
    name="Kodak24",
    content="24 photographs of 768 x 512, to test on",
    terms="released by Kodak for unrestricted use, as the page understands it",
    source=f"{KODAK}/",
    files=tuple(
        RemoteFile(f"{KODAK}/kodak/kodim{number:02d}.png", size, f"sha256:{sha256}")
        for number, (size, sha256) in enumerate(KODAK_FILES, 1)
    ),
)

# deepinv.datasets.McMaster: the archive is encrypted, and the page has its password.
MCMASTER = Download(
    name="McMaster",
    content="18 photographs of 500 x 500, to test on",
    terms=BENCHMARK_TERMS,
    source="https://www4.comp.polyu.edu.hk/~cslzhang/CDM_Dataset.htm: McM.zip, whose password is "
    "on the page, unpacked as McMaster",
)


def _benchmark(
    name: str, copy: str, content: str, size_bytes: int, checksum: str = "", terms: str = ""
) -> Download:
    """Return a test set of super-resolution, as Hugging Face's eugenesiow keeps it."""
    page = f"{HUGGING_FACE}/eugenesiow/{copy}"
    file = RemoteFile(
        f"{page}/resolve/main/data/{copy}_HR.tar.gz", size_bytes, checksum, inside=f"{copy}_HR"
    )
    return Download(name, content, terms or BENCHMARK_TERMS, page, (file,))


# Sizes as the pages show them. Addresses and the names of the folders inside:
# deepinv.datasets.Set5HR, Set14HR, BSD100HR and Urban100HR. MD5 of Urban100: several public scripts
# that download this archive by torchvision's download_and_extract_archive.
SET5 = _benchmark("Set5", "Set5", "5 photographs, to test on", 852_000)
SET14 = _benchmark("Set14", "Set14", "14 photographs, to test on", 4_980_000)
B100 = _benchmark(
    "B100", "BSD100", "the 100 photographs of BSDS300's test", 27_200_000, terms=BERKELEY_TERMS
)
URBAN100 = _benchmark(
    "Urban100",
    "Urban100",
    "100 photographs of buildings, to test on",
    135_000_000,
    "md5:65d9d84a34b72c6f7ca1e26a12df1e4c",
    "CC BY 4.0, as that page states",
)

# tensorflow/datasets, tensorflow_datasets/datasets/div2k/checksums.tsv.
DIV2K = Download(
    name="DIV2K",
    content="900 photographs of 2K: 800 to train on, of the others the first 10 to test on",
    terms="academic research",
    source=f"{ETH}/",
    files=(
        RemoteFile(
            f"{ETH}/DIV2K_train_HR.zip",
            3_530_603_713,
            "sha256:9d0b9c463f6e35b6c62cc6a930ee2224f670b34c1df841a57670f9acf0f6c335",
        ),
        RemoteFile(
            f"{ETH}/DIV2K_valid_HR.zip",
            448_993_893,
            "sha256:20dd31fd84d777bc1cf5d6b7654a3f569c0aec74458ae094122ad1d0489900fc",
        ),
    ),
)

# Bytes and MD5 of the archive, and bytes of the blocks: several public scripts that download them
# from this server of York University, which the authors' page links to.
SIDD_MEDIUM = Download(
    name="SIDD",
    content="SIDD-Medium sRGB: 320 pairs of a telephone's photographs, and 1,280 blocks to test on",
    terms="MIT, as the page states",
    source="https://www.eecs.yorku.ca/~kamel/sidd/dataset.php",
    files=(
        RemoteFile(
            f"{YORK}/SIDD_Medium_Srgb.zip",
            13_234_744_070,
            "md5:f95b4bc9ec1dd3fe4ebd61aeacad3991",
        ),
        RemoteFile(f"{YORK}/SIDD_Blocks/ValidationNoisyBlocksSrgb.mat", 229_724_517),
        RemoteFile(f"{YORK}/SIDD_Blocks/ValidationGtBlocksSrgb.mat", 232_055_617),
    ),
)

LOL_PAIRS = Download(
    name="LOL",
    content="500 pairs of a short and a long exposure",
    terms=BENCHMARK_TERMS,
    source="https://daooshee.github.io/BMVC2018website/: LOLdataset.zip, on Google Drive",
)

SID_SONY = Download(
    name="SID-Sony",
    content="raw photographs of a short and a long exposure, 25 GB",
    terms=BENCHMARK_TERMS,
    source="https://github.com/cchen156/Learning-to-See-in-the-Dark: Sony.zip, on Google Drive, "
    "and the lists Sony_train_list.txt and Sony_test_list.txt",
)

CLEAN = (BSDS500, CBSD68, KODAK24, MCMASTER, URBAN100, SET5, SET14, B100, DIV2K)
