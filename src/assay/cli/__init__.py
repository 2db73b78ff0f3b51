"""The command line: `assay VERB`. One module a verb; a verb's module is loaded only when it is called.

Exit codes of every verb: 0 done and clean; 1 findings at or above the level asked for (`--fail-on`); 2 the command
could not do its work; 3 done, but something of the release could not be read (the record names it); 130 interrupted.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
import traceback

import click

from assay import __version__

CLEAN, FINDINGS, FAILED, SHORTFALL, INTERRUPTED = 0, 1, 2, 3, 130


class Fault(click.ClickException):
    """What ends a command: one line that says what, where and what to do."""

    exit_code = FAILED

    def show(self, file: object = None) -> None:  # noqa: ARG002 - always to standard error
        """Print the line."""
        click.echo(f"assay: {' '.join(self.format_message().split())}", err=True)


class Verbs(click.Group):
    """The verbs, each in a module of this package that defines `command`."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the verbs' names."""
        return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Return a verb."""
        if name not in self.list_commands(ctx):
            return None
        command: click.Command = importlib.import_module(f"{__name__}.{name}").command
        return command


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="assay")
def cli() -> None:
    """Examine what a vendor delivers, judge it by rules that cannot see who made it, and show the evidence.

    Exit codes: 0 clean, 1 findings at or above the level asked for, 2 could not do its work, 3 something could not be
    read, 130 interrupted.
    """


def main() -> None:
    """Run the command line; never shows a traceback for what the user can mend, never ends with 1 for a fault."""
    from assay.record import QueryError, RecordError

    try:
        code = cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("assay: interrupted", err=True)
        sys.exit(INTERRUPTED)
    except Fault as fault:
        fault.show()
        sys.exit(fault.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(FAILED)
    except (RecordError, QueryError) as error:
        Fault(str(error)).show()
        sys.exit(FAILED)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(FAILED)
    except OSError as error:
        Fault(f"{error.filename or 'input or output'}: {error.strerror or error}").show()
        sys.exit(FAILED)
    except Exception as error:  # Python's own exit code for it, 1, means findings here
        traceback.print_exc()
        Fault(f"a fault in Assay itself, please report it with the lines above: {error}").show()
        sys.exit(FAILED)
    sys.exit(code if isinstance(code, int) else CLEAN)
