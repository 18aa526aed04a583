"""`Reference`: where a technique was published, shown with everything that implements it."""

from exegete.core.value import Value


class Reference(Value):
    """A publication: authors as usually cited, year, title, and where (arXiv id, DOI or ACL id), with the equation used."""

    authors: str
    year: int
    title: str
    where: str = ""
    equation: str = ""

    def __str__(self) -> str:
        tail = f", {self.equation}" if self.equation else ""
        where = f" {self.where}" if self.where else ""
        return f"{self.authors} ({self.year}). {self.title}.{where}{tail}"
