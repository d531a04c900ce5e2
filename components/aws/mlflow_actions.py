"""What IAM lets somebody do on a tracking server, action by action; a test holds the lists to AWS's own.

A new action of AWS's is added here on purpose. An app's rights are not told apart like this.
https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsagemakerwithmlflow.html
"""


def _named(names: str) -> tuple[str, ...]:
    return tuple(f"sagemaker-mlflow:{name}" for name in names.split())


READ = _named(
    """
    GetDownloadURIForModelVersionArtifacts GetExperiment GetExperimentByName GetLatestModelVersions GetLoggedModel
    GetMetricHistory GetModelVersion GetModelVersionByAlias GetRegisteredModel GetRun GetTraceInfo ListArtifacts
    ListLoggedModelArtifacts SearchExperiments SearchLoggedModels SearchModelVersions SearchRegisteredModels
    SearchRuns SearchTraces
    """
)
WRITE = _named(
    """
    CreateExperiment CreateModelVersion CreateRegisteredModel CreateRun EndTrace FinalizeLoggedModel LogBatch
    LogInputs LogLoggedModelParams LogMetric LogModel LogOutputs LogParam RenameRegisteredModel RestoreExperiment
    RestoreRun SetExperimentTag SetLoggedModelTags SetModelVersionTag SetRegisteredModelAlias SetRegisteredModelTag
    SetTag SetTraceTag StartTrace TransitionModelVersionStage UpdateExperiment UpdateModelVersion
    UpdateRegisteredModel UpdateRun
    """
)
DELETE = _named(
    """
    DeleteExperiment DeleteLoggedModel DeleteLoggedModelTag DeleteModelVersion DeleteModelVersionTag
    DeleteRegisteredModel DeleteRegisteredModelAlias DeleteRegisteredModelTag DeleteRun DeleteTag DeleteTraceTag
    DeleteTraces
    """
)
