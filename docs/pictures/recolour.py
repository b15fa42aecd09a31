"""Write a picture of `arsbench ... --plots DIR` in the light and the dark colours of the HTML page.

    arsbench compare suites/demo-optimizers --plots build/plots
    python docs/pictures/recolour.py build/plots/loss-by-passes.svg docs/pictures/learning-curves

writes docs/pictures/learning-curves-light.svg and docs/pictures/learning-curves-dark.svg.
"""

import re
import sys
from pathlib import Path

PAGE_CSS = Path(__file__).parents[2] / "arsbench" / "pages" / "templates" / "page.css"


def colours() -> list[dict[str, str]]:
    """The page's colours by the names of its variables: the light ones, then the dark ones."""
    blocks = re.findall(r":root \{(.*?)\}", PAGE_CSS.read_text(encoding="utf-8"), re.DOTALL)
    return [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block)) for block in blocks]


def main() -> None:
    picture, target = Path(sys.argv[1]), sys.argv[2]
    # A reader's browser may lack DejaVu Sans; Verdana is as wide, so that labels keep their room.
    svg = picture.read_text(encoding="utf-8").replace("'DejaVu Sans'", "'DejaVu Sans', Verdana, sans-serif")
    light, dark = colours()
    darkened = {light[name]: dark[name] for name in light}
    Path(f"{target}-light.svg").write_text(svg, encoding="utf-8")
    svg = re.sub(r"#[0-9a-f]{6}", lambda match: darkened.get(match[0], match[0]), svg)
    Path(f"{target}-dark.svg").write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main()
