"""Writes the page of a benchmark: a summary, tables, pictures and the meaning of each column.

All generated parts are between markers. On an existing page only the text between markers is
replaced; the text written by hand stays.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ..evaluation.functional import topk_bound
from ..utils.files import atomic_write
from .claims import claim, summarise
from .csv_files import read_comparisons, read_results, write_comparisons, write_results
from .figures import (
    CALIBRATED,
    HALF,
    NATIVE,
    Row,
    group_by_method,
    make_rows,
    mean_label_f1,
    rank_methods,
)
from .plots import draw_cost, draw_frequency, draw_methods
from .results import (
    BenchmarkInfo,
    Facts,
    Group,
    RunResult,
    load_facts,
    load_info,
    load_results,
    save_facts,
    save_info,
)
from .statistics import COMPARED, OF_SETS, RESAMPLES, Comparison, compare_methods
from .tables import (
    differences_table,
    exact_table,
    figures_table,
    habits_table,
    search_table,
)

BEGIN, END = '<!-- begin {} -->', '<!-- end {} -->'
PAGE, RESULTS, COMPARISONS = 'README.md', 'results.csv', 'comparisons.csv'
TESTED = (NATIVE, HALF, CALIBRATED)
NUM_DRAWN = 6  # methods in the picture of F1 by label frequency: the best, and the reference
HEADINGS = {
    NATIVE: 'By their own decisions',
    HALF: 'At 0.5',
    CALIBRATED: 'With a calibrated threshold',
}

LEGEND = """
All figures are computed on the test images, in percent except N+: mean ± standard deviation over
seeds.

- **P_L, R_L, F1_L** (CP, CR, CF1 of other papers): precision and recall of each label, averaged
  over labels; F1_L is the harmonic mean of the two averages. **P_I, R_I, F1_I**: the same for each
  image, averaged over images. **OP, OR, OF1**: of all decisions together. A ratio 0/0 counts as 0
  and is part of the average: a label that is never predicted and an image without predicted labels
  have precision 0, an image without true labels has recall 0.
- **mAP**: average precision of each label, averaged over labels; equal scores are counted together,
  and a label without a test image counts as 0. **N+**: number of labels with a recall above 0.
  **top-1**: images whose highest-scoring label is correct; methods with steps use the first one.
- **Decisions**: *their own*, the rule of the method itself; *0.5*, a probability above 0.5 (scores
  that are not probabilities first pass through one sigmoid fitted on the validation images);
  *calibrated*, one threshold for all labels, with the highest F1_I on the validation images;
  *exactly k*, the k highest-scoring labels of each image.
- **sees**: the input of the method. *scores*: only the CNN's label probabilities. *features*,
  *maps*: cached outputs of the frozen CNN. *joint*: the images; the CNN is trained with the method.
- **Differences** are to the method named above the table, over the seeds that both have: [95 %
  interval over seeds, from a paired t-test] [95 % interval over test images, from a paired
  bootstrap], and the p-value of the t-test after Holm's correction for the number of methods.
  Bold: p is below 0.05 and both intervals are on one side of 0.
""".strip()


def compare_all(
    info: BenchmarkInfo,
    runs: Mapping[str, Sequence[RunResult]],
    rows: Mapping[str, Row],
    num_resamples: int = RESAMPLES,
) -> list[Comparison]:
    """Compare the methods of every group with the group's reference, by every decision."""
    found = []
    for group in info.groups:
        members = select_group(rows, group)
        for decision in TESTED:
            if decision in members[group.reference].figures:
                columns = _compared_by(decision)
                found += compare_methods(
                    runs, members, group.reference, decision, info.topk, num_resamples, columns
                )
    return found


def _compared_by(decision: str) -> tuple[str, ...]:
    """Return the columns to compare; those independent of the decision only with the first one."""
    return COMPARED if decision == NATIVE else OF_SETS


def select_group(rows: Mapping[str, Row], group: Group) -> dict[str, Row]:
    """Return the rows of a group, the reference first even if it belongs to another group.

    Raises:
        ValueError: If there is no such reference; names the existing methods.
    """
    if group.reference not in rows:
        raise ValueError(
            f'Expected the reference of {group.name!r} to be one of {", ".join(rows)}, but got '
            f'{group.reference!r}.'
        )
    members = {
        name: row for name, row in rows.items() if row.group == group.name or name in group.members
    }
    if group.reference in members:
        return members
    return {group.reference: rows[group.reference], **members}


def compose(
    info: BenchmarkInfo,
    facts: Facts,
    rows: Mapping[str, Row],
    comparisons: Sequence[Comparison],
) -> dict[str, str]:
    """Compose the sections of the page.

    Args:
        info: What all runs share.
        facts: Facts about the data and the searches.
        rows: The figures of every method.
        comparisons: The result of :func:`compare_all`.

    Returns:
        Section name to Markdown, in the order of the page.
    """
    first, *others = info.groups
    methods = select_group(rows, first)
    summary = summarise(info, facts, rows, comparisons)
    sections = {'summary': '\n'.join(f'{place}. {line}' for place, line in enumerate(summary, 1))}
    sections['methods'] = _describe_group(first, methods, comparisons)
    sections['exact'] = exact_table(methods, info.topk, facts.bound)
    for group in others:
        sections[_section_of(group)] = _describe_group(
            group, select_group(rows, group), comparisons
        )
    sections['claims'] = _list_claims(_of_group(comparisons, methods, first), rows)
    sections['habits'] = habits_table(rows)
    sections['search'] = search_table(rows, facts.trials)
    sections['legend'] = LEGEND
    return sections


def _of_group(
    comparisons: Sequence[Comparison], members: Mapping[str, Row], group: Group
) -> list[Comparison]:
    return [
        item for item in comparisons if item.method in members and item.reference == group.reference
    ]


def _describe_group(
    group: Group, members: Mapping[str, Row], comparisons: Sequence[Comparison]
) -> str:
    """Format the figures and differences of a group, one part for each decision."""
    own = _of_group(comparisons, members, group)
    parts = [group.note] if group.note else []
    for decision in TESTED:
        found = [item for item in own if item.decision == decision]
        if not any(decision in row.figures for row in members.values()):
            continue
        parts += [f'**{HEADINGS[decision]}**', figures_table(members, decision)]
        if found:
            title, columns = members[group.reference].title, _compared_by(decision)
            parts += [f'Against {title}:', differences_table(found, members, columns)]
    return '\n\n'.join(parts)


def _list_claims(comparisons: Sequence[Comparison], rows: Mapping[str, Row]) -> str:
    """List one sentence for each certain difference."""
    standing = [item for item in comparisons if item.verdict != 'open']
    if not standing:
        return 'No method differs from the reference.'
    return '\n'.join(f'- {HEADINGS[item.decision]}: {claim(item, rows)}' for item in standing)


def write_page(
    results: str | Path, folder: str | Path, num_resamples: int = RESAMPLES
) -> dict[str, Row]:
    """Write the page of a benchmark from the files of its runs.

    Writes ``README.md``, three pictures, and the files that :func:`read_sections` needs.

    Args:
        results: Folder with ``benchmark.json`` and the runs.
        folder: Folder of the page.
        num_resamples: Number of bootstrap resamples of the test images.

    Returns:
        The figures of every method.

    Raises:
        ValueError: If a file of a run is damaged, a reference is not a method, or an existing page
            lacks a marker; names it.
    """
    folder = Path(folder)
    info = load_info(results)
    page = folder / PAGE
    text = page.read_text(encoding='utf-8') if page.is_file() else make_template(info)
    for name in list_sections(info):
        replace_section(text, name, '')  # fails early if a marker is missing

    runs = group_by_method(load_results(results), info.order)
    rows = make_rows([run for own in runs.values() for run in own], info)
    comparisons = compare_all(info, runs, rows, num_resamples)

    folder.mkdir(parents=True, exist_ok=True)
    save_info(folder, info)
    save_facts(folder, collect_facts(info, runs))
    write_results(folder / RESULTS, rows)
    write_comparisons(folder / COMPARISONS, comparisons)
    draw_all(info, runs, rows, folder)
    for name, content in read_sections(folder).items():  # rounded as in the files
        text = replace_section(text, name, content)
    with atomic_write(page) as file:
        file.write(text.encode())
    return rows


def read_sections(folder: str | Path) -> dict[str, str]:
    """Compose the sections of a page from the files beside it, without the predictions.

    Raises:
        ValueError: If a file is missing or damaged; names it.
    """
    folder = Path(folder)
    rows, comparisons = read_results(folder / RESULTS), read_comparisons(folder / COMPARISONS)
    return compose(load_info(folder), load_facts(folder), rows, comparisons)


def collect_facts(info: BenchmarkInfo, runs: Mapping[str, Sequence[RunResult]]) -> Facts:
    """Collect the facts that the runs hold in addition to their predictions."""
    first = next(iter(runs.values()))[0]
    num_true = (first.test.targets > 0).sum(axis=1)
    return Facts(
        num_val=len(first.val.targets),
        num_test=len(first.test.targets),
        bound=topk_bound(num_true, info.topk),
        trials={name: own[0].trials for name, own in runs.items() if own[0].trials},
    )


def draw_all(
    info: BenchmarkInfo,
    runs: Mapping[str, Sequence[RunResult]],
    rows: Mapping[str, Row],
    folder: Path,
) -> None:
    """Draw the pictures of the comparison of methods into a folder."""
    methods = select_group(rows, info.groups[0])
    has_seeds = any(len(row.seeds) > 1 for row in methods.values())
    what = 'mean and standard deviation over seeds' if has_seeds else 'one seed'
    title = f'{info.title}, test side: {what}'
    draw_methods(methods, folder / 'methods.png', title)
    draw_cost(methods, folder / 'cost.png', f'{info.title}: F1_I against the cost of a run')

    best = [row.method for row in rank_methods(methods, CALIBRATED, 'F1_L')[:NUM_DRAWN]]
    per_label = {}
    for name in dict.fromkeys([info.groups[0].reference, *best]):
        found = mean_label_f1(runs[name], CALIBRATED, info.topk)
        if found is not None:
            per_label[rows[name].title] = found
    title = f'{info.title}: F1 of labels by how often they are in training, calibrated'
    draw_frequency(per_label, info.training_counts, folder / 'frequency.png', title)


def make_template(info: BenchmarkInfo) -> str:
    """Compose a page without contents: headings, markers, pictures."""
    first, *others = info.groups
    command = [f'Made by\n\n```shell\n{info.command}\n```'] if info.command else []
    parts = [
        f'# {info.title}: which method',
        _mark('summary'),
        *command,
        f'## {first.title}\n\n{_mark("methods")}',
        f'## Exactly {info.topk} labels an image\n\n{_mark("exact")}',
        *(f'## {group.title}\n\n{_mark(_section_of(group))}' for group in others),
        f'## Confirmed differences\n\nThese differences pass both tests:\n\n{_mark("claims")}',
        f'## What the methods predict\n\n{_mark("habits")}',
        f'## What settings were chosen from\n\n{_mark("search")}',
        '## Pictures',
        '![F1 of every method](methods.png)',
        '![F1 of labels against how often they are in the training set](frequency.png)',
        '![F1_I against the minutes of a run](cost.png)',
        f'## How to read it\n\n{_mark("legend")}',
    ]
    return '\n\n'.join(parts) + '\n'


def list_sections(info: BenchmarkInfo) -> list[str]:
    """Return the names of the sections of a page, in order."""
    others = [_section_of(group) for group in info.groups[1:]]
    return ['summary', 'methods', 'exact', *others, 'claims', 'habits', 'search', 'legend']


def _section_of(group: Group) -> str:
    return f'group {group.name}'


def _mark(name: str) -> str:
    return f'{BEGIN.format(name)}\n{END.format(name)}'


def replace_section(text: str, name: str, content: str) -> str:
    """Put content between the markers of a section.

    Raises:
        ValueError: If there are no such markers.
    """
    begin, end = BEGIN.format(name), END.format(name)
    if text.count(begin) != 1 or text.count(end) != 1:
        raise ValueError(f'Expected the page to hold {begin} and {end} once.')
    head, rest = text.split(begin)
    return f'{head}{begin}\n{content}\n{end}{rest.split(end)[1]}'
