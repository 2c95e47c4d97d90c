"""Pages: one HTML file each, with everything inside, that no name of a label can break.

A page is a template and a dict. The template stands beside the code that fills it, and extends `base.html`:

    {% extends "base.html" %}
    {% import "parts.html" as parts %}
    {% block main %}
    <section>
      <h2>Suspects</h2>
      <p>{{ count }} images, the most suspect first.</p>
      {{ parts.table(suspects) }}
      {{ parts.cards(images) }}
    </section>
    {% endblock %}

and the code calls

    from sct_hf.pages import Card, Column, Picture, Table, Tag, data_uri, write_page

    suspects = Table(
        [Column("image"), Column("label"), Column("score", "percent"), Column("", "picture")],
        [[image_id, name, 0.93, Picture(data_uri(image), image_id)], ...],
    )
    images = [Card(image_id, [Picture(data_uri(image))], [Tag("dog", "0.93", "wrong")], ["seen in 3 of 5 folds"]), ...]
    write_page(folder / "audit.html", Path(__file__).with_name("audit.html"), "Suspect labels",
               {"count": len(images), "suspects": suspects, "images": images})

What `parts.html` draws (its macros), each of one object of this package, or of a list of them:

| macro | of | draws |
|---|---|---|
| `figures` | `Figure(name, value, note)` | headline figures in a row |
| `table` | `Table` | a table: a click on a heading sorts, typing filters, a click on a picture opens it |
| `cards` | `Card` | images with tags and notes; typing filters |
| `pictures` | `Picture` | images in a row; a click opens one large |
| `charts` | `Chart`, and `choose=` the words of a list of choices | curves; needs `write_page(..., charts=True)` |

The base gives every `h2` a place in the contents. Further plain HTML (`<p>`, `<details>`) has the page's style.

All text is escaped: jinja2's autoescape is on, and characters that a terminal would not show are written as codes.
Names of more than 200 characters lose their middle; notes and values stay whole. So use neither `| safe` nor
`Markup`, put no name into a script or a `style`, and no script into a template. Only the scripts of this package run,
by the digests in the page's Content-Security-Policy, which also forbids every request.
"""

from sct_hf.pages.charts import Chart, Curve
from sct_hf.pages.page import write_page
from sct_hf.pages.parts import Card, Column, Figure, Mark, Picture, Table, Tag
from sct_hf.pages.pictures import data_uri

__all__ = ["Card", "Chart", "Column", "Curve", "Figure", "Mark", "Picture", "Table", "Tag", "data_uri", "write_page"]
