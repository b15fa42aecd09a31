"""Run folders: all records of runs, written while they run. Standard library only.

    runs/<name>/
      config.json        the configuration as written
      effective.json     the effective configuration: every default, only the keys that its optimizer has
      environment.json   versions, processor, backend of each op that was called, commit
      groups.json        the optimizer's parameter groups
      status.json        {"state": …, "step": …, "message": …}; in a finished run also {"records": …}, in a
                         diverged run {"diverged_at": …}, in a folder read from a report {"from_report": true}
      steps.jsonl        a record for each logged step
      epochs.jsonl       a record for each epoch and task
      evaluations.jsonl  a record for each evaluation within an epoch
      checkpoints/       written by the trainer
      tokenizer.json     written by the trainer
      summary.md         the report
      traceback.txt      the exception that ended the run
      .lock              held by the process that writes the run (arsbench/runs/lock.py)

Documents are replaced atomically, and lines are appended one by one: a crash loses no record. `folder` reads
and writes the folder, `lock` keeps other processes from writing to it, `paths` chooses directories for new
runs, `json_files` stores documents and lines, and `checks` says what each file must hold.
"""
