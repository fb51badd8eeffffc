-- Accounts and permissions have their own database: MLflow migrates the two by themselves.
CREATE DATABASE mlflow_auth;
