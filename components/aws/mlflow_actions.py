"""IAM actions on a tracking server by kind; a test compares the lists with AWS's service authorization reference.

New actions of AWS have to be added here. Apps have a single action for all requests.
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
